//! The secrets that sign requests: reads them from a file or a variable, and never shows them. See
//! `docs/specification.md#webhook-signatures`.

use std::env::VarError;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::config::SecretSource;
use crate::delivery::bounded_file;

/// Size of a secret in bytes, as Standard Webhooks specifies it.
const SECRET_LENGTH: std::ops::RangeInclusive<usize> = 24..=64;
/// Maximum size of the file of secrets in bytes; a larger one is an error.
const MAX_FILE_BYTES: u64 = 4 << 10;
/// Maximum number of secrets, which is more than a rotation needs; with more there is an error.
const MAX_SECRETS: usize = 8;

/// Why there are no secrets. No variant contains a secret or a part of one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("cannot read secret_file {}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "other users can access secret_file {file} (mode {mode:04o}); run `chmod 600 {file}`",
        file = .path.display()
    )]
    Permissions { path: PathBuf, mode: u32 },
    #[error(
        "secret_file {file} belongs to another user; run `sudo chown $(id -u) {file}`",
        file = .path.display()
    )]
    Owner { path: PathBuf },
    #[error("secret_env {name}: the variable is not set; set it for the daemon")]
    NotSet { name: String },
    #[error("{setting}: {error}")]
    Invalid {
        /// The setting and its value.
        setting: String,
        error: InvalidSecret,
    },
}

/// A text is not a list of valid secrets.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid secret; expected up to {MAX_SECRETS} secrets, each `whsec_` and the base64 of {min} \
     to {max} bytes; create one with `echo whsec_$(head -c 32 /dev/urandom | base64)`",
    min = SECRET_LENGTH.start(),
    max = SECRET_LENGTH.end()
)]
pub(crate) struct InvalidSecret;

/// The state of HMAC-SHA256 after the key. Its `Debug` text does not show the key.
#[derive(Clone)]
struct SigningKey(Hmac<Sha256>);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The secrets in use: one, or several during a rotation.
#[derive(Debug, Clone)]
pub(crate) struct Secrets(Vec<SigningKey>);

impl Secrets {
    /// Reads the secrets.
    pub(crate) fn read(source: &SecretSource) -> Result<Self, SecretError> {
        let (text, setting) = match source {
            SecretSource::File(path) => {
                let text = read_private_file(path)?;
                (text, format!("secret_file {}", path.display()))
            }
            SecretSource::Env(name) => {
                let text = match std::env::var(name) {
                    Ok(text) => text,
                    Err(VarError::NotPresent) => {
                        return Err(SecretError::NotSet { name: name.clone() });
                    }
                    // Not UTF-8, and so without a valid secret.
                    Err(VarError::NotUnicode(_)) => String::new(),
                };
                (text, format!("secret_env {name}"))
            }
        };
        Self::parse(&text).map_err(|error| SecretError::Invalid { setting, error })
    }

    fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let secrets: Option<Vec<SigningKey>> = text.split_whitespace().map(parse_key).collect();
        match secrets {
            Some(secrets) if (1..=MAX_SECRETS).contains(&secrets.len()) => Ok(Self(secrets)),
            _ => Err(InvalidSecret),
        }
    }

    /// Returns the value of `webhook-signature`: one signature for each secret.
    pub(crate) fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let signature = |key: &SigningKey| {
            let mut mac = key.0.clone();
            mac.update(format!("{id}.{seconds}.").as_bytes());
            mac.update(body);
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        };
        self.0.iter().map(signature).collect::<Vec<_>>().join(" ")
    }
}

fn parse_key(text: &str) -> Option<SigningKey> {
    let bytes = STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text)).ok()?;
    if !SECRET_LENGTH.contains(&bytes.len()) {
        return None;
    }
    Hmac::new_from_slice(&bytes).ok().map(SigningKey)
}

/// Reads a text file that belongs to this user or root and that other users cannot access.
fn read_private_file(path: &Path) -> Result<String, SecretError> {
    let read_error = |source| SecretError::Read { path: path.into(), source };
    let (text, metadata) = bounded_file::read(path, MAX_FILE_BYTES).map_err(read_error)?;
    if metadata.mode() & 0o077 != 0 {
        let mode = metadata.mode() & 0o777;
        return Err(SecretError::Permissions { path: path.into(), mode });
    }
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user && metadata.uid() != 0 {
        return Err(SecretError::Owner { path: path.into() });
    }
    String::from_utf8(text).map_err(|_| read_error(io::Error::other("not UTF-8")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::core::error::error_chain;

    const CANARY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn signatures_are_accepted_by_an_independent_implementation() {
        let other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDAAAA";
        let secrets = Secrets::parse(&format!("{CANARY}\n{other}\n")).unwrap();
        let now = chrono::Utc::now().timestamp();
        let signed = secrets.sign("msg_1", now, b"{}");
        for secret in [CANARY, other] {
            let verifier = standardwebhooks::Webhook::new(secret).unwrap();
            let mut headers = http::HeaderMap::new();
            headers.insert("webhook-id", "msg_1".parse().unwrap());
            headers.insert("webhook-timestamp", now.to_string().parse().unwrap());
            headers.insert("webhook-signature", signed.parse().unwrap());
            verifier.verify(b"{}", &headers).unwrap();
            verifier.verify(b"{ }", &headers).unwrap_err();
        }
        // Test vector of the reference libraries of Standard Webhooks.
        let signed = Secrets::parse(CANARY).unwrap().sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn debug_and_error_texts_never_show_a_secret() {
        let secrets = Secrets::parse(CANARY).unwrap();
        assert_eq!(format!("{secrets:?}"), "Secrets([[redacted]])");
        for bad in ["", "whsec_", "whsec_CANARY", "CANARY", "whsec_CANARYCANARYCANARYCANARY ="] {
            assert!(!Secrets::parse(bad).unwrap_err().to_string().contains("CANARY"), "{bad}");
        }
    }

    #[test]
    fn secret_file_that_is_not_private_or_not_valid_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, CANARY).unwrap();
        let read = |path: &Path| {
            let result = Secrets::read(&SecretSource::File(path.into()));
            result.map(drop).map_err(|error| error_chain(&error))
        };
        let read_with_mode = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            read(&path)
        };
        assert_eq!(read_with_mode(0o600), Ok(()));
        assert_eq!(read_with_mode(0o400), Ok(()));
        for mode in [0o640, 0o604, 0o620] {
            let error = read_with_mode(mode).unwrap_err();
            assert!(error.contains("run `chmod 600 ") && !error.contains(CANARY), "{error}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(read(&link), Ok(()), "a link is followed");
        assert!(read(dir.path()).unwrap_err().contains("not a regular file"));
        let pipe = dir.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(
            read(&pipe).unwrap_err().contains("not a regular file"),
            "a FIFO without a writer does not block"
        );
        std::fs::write(&path, CANARY.repeat(1_000)).unwrap();
        assert!(read(&path).unwrap_err().ends_with("larger than 4096 bytes"));
        std::fs::write(&path, b"whsec_\xff").unwrap();
        assert!(read(&path).unwrap_err().contains("UTF-8"));
        let unset = SecretSource::Env("DOSSIERD_NONE".to_owned());
        let error = Secrets::read(&unset).unwrap_err();
        let expected = "secret_env DOSSIERD_NONE: the variable is not set; set it for the daemon";
        assert_eq!(error.to_string(), expected);
    }
}
