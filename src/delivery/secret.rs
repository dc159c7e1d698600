//! Secrets that requests are signed with: where they are read from, and that they are never shown.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::config::SecretSource;
use crate::delivery::bounded_file;

/// Bytes of a secret (Standard Webhooks: 24 to 64).
const SECRET_LENGTH: std::ops::RangeInclusive<usize> = 24..=64;
/// Bytes of a file of secrets, at most.
const MAX_FILE_BYTES: u64 = 4 << 10;
/// Secrets that are in use at a time, at most: more than a rotation needs.
const MAX_SECRETS: usize = 8;

/// A key that requests are signed with. It has no text form.
#[derive(Clone)]
struct SigningKey(Hmac<Sha256>);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The secrets in use: one, or several while they are being exchanged.
#[derive(Debug, Clone)]
pub(crate) struct Secrets(Vec<SigningKey>);

impl Secrets {
    /// Reads them. What is wrong is said without what they are.
    pub(crate) fn read(source: &SecretSource) -> Result<Self, String> {
        let (text, place) = match source {
            SecretSource::File(path) => {
                let place = format!("secret_file {}", path.display());
                (read_private_file(path).map_err(|error| format!("{place}: {error}"))?, place)
            }
            SecretSource::Env(name) => {
                let place = format!("secret_env {name}");
                let text = std::env::var(name).map_err(|_| format!("{place}: it is not set"))?;
                (text, place)
            }
        };
        Self::parse(&text).map_err(|why| format!("{place}: {why}"))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let secrets: Option<Vec<SigningKey>> = text.split_whitespace().map(parse_key).collect();
        match secrets {
            Some(secrets) if (1..=MAX_SECRETS).contains(&secrets.len()) => Ok(Self(secrets)),
            _ => Err(format!(
                "no secret; it is `whsec_` and the base64 of {} to {} bytes, such as `echo \
                 whsec_$(head -c 32 /dev/urandom | base64)` gives, and up to {MAX_SECRETS} of them \
                 while they are exchanged",
                SECRET_LENGTH.start(),
                SECRET_LENGTH.end()
            )),
        }
    }

    /// The value of `webhook-signature`: one signature for each secret.
    pub(crate) fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let signature = |secret: &SigningKey| {
            let mut mac = secret.0.clone();
            mac.update(format!("{id}.{seconds}.").as_bytes());
            mac.update(body);
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        };
        self.0.iter().map(signature).collect::<Vec<_>>().join(" ")
    }
}

fn parse_key(word: &str) -> Option<SigningKey> {
    let bytes = STANDARD.decode(word.strip_prefix("whsec_").unwrap_or(word)).ok()?;
    if !SECRET_LENGTH.contains(&bytes.len()) {
        return None;
    }
    Hmac::new_from_slice(&bytes).ok().map(SigningKey)
}

/// The text of a regular file that only its owner, who is this user, can read.
fn read_private_file(path: &Path) -> io::Result<String> {
    let (text, metadata) = bounded_file::read(path, MAX_FILE_BYTES)?;
    if metadata.mode() & 0o077 != 0 {
        let mode = metadata.mode() & 0o777;
        return Err(io::Error::other(format!(
            "others may read it (mode {mode:04o}); `chmod 600` it"
        )));
    }
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user && metadata.uid() != 0 {
        return Err(io::Error::other("it belongs to another user"));
    }
    String::from_utf8(text).map_err(|_| io::Error::other("it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const CANARY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn signatures_are_those_of_an_independent_implementation() {
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
        // The example of the specification's reference libraries.
        let signed = Secrets::parse(CANARY).unwrap().sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secrets = Secrets::parse(CANARY).unwrap();
        assert_eq!(format!("{secrets:?}"), "Secrets([[redacted]])");
        for bad in ["", "whsec_", "whsec_CANARY", "CANARY", "whsec_CANARYCANARYCANARYCANARY ="] {
            assert!(!Secrets::parse(bad).unwrap_err().contains("CANARY"), "{bad}");
        }
    }

    #[test]
    fn a_file_is_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, CANARY).unwrap();
        let read = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Secrets::read(&SecretSource::File(path.clone())).map(drop)
        };
        assert_eq!(read(0o600), Ok(()));
        assert_eq!(read(0o400), Ok(()));
        for mode in [0o640, 0o604, 0o620] {
            let error = read(mode).unwrap_err();
            assert!(error.contains("`chmod 600` it") && !error.contains(CANARY), "{error}");
        }
        let read = |path: &Path| Secrets::read(&SecretSource::File(path.into())).map(drop);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(read(&link), Ok(()), "what it leads to counts");
        assert!(read(folder.path()).unwrap_err().contains("not a regular file"));
        let pipe = folder.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(read(&pipe).unwrap_err().contains("not a regular file"), "nobody writes to it");
        std::fs::write(&path, CANARY.repeat(1_000)).unwrap();
        assert!(read(&path).unwrap_err().ends_with("larger than 4096 bytes"));
        std::fs::write(&path, b"whsec_\xff").unwrap();
        assert!(read(&path).unwrap_err().contains("UTF-8"));
        let unset = SecretSource::Env("DOSSIERD_NONE".to_owned());
        assert_eq!(Secrets::read(&unset).unwrap_err(), "secret_env DOSSIERD_NONE: it is not set");
    }
}
