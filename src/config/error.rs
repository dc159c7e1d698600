//! Why a value in `config.yaml` is not accepted, and what to write instead. The parser adds the
//! position and the key. Values that may be secret are not repeated.

/// An unusable value of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigValueError {
    /// A project root that is not absolute.
    #[error("`{0}` is not absolute; begin it with `/` or `~/`")]
    RelativeRoot(String),
    /// The path of a file that is not absolute. It may be a misplaced secret.
    #[error("the file's path is not absolute; begin it with `/` or `~/`")]
    RelativeFile,
    /// `~/` without a home directory.
    #[error("cannot find the home directory: {0}")]
    NoHome(#[source] etcetera::HomeDirError),
    /// Text that is not a duration.
    #[error("invalid duration `{0}`; write a number and `s`, `m`, `h` or `d`, such as `30d`")]
    InvalidDuration(String),
    /// Text that is neither a duration nor `off`.
    #[error(
        "invalid duration `{0}`; write a number and `s`, `m`, `h` or `d`, such as `30d`, or `off`"
    )]
    InvalidOptionalDuration(String),
    /// Text that is not a size.
    #[error("invalid size `{0}`; write a number of bytes, or a number with `KiB`, `MiB` or `GiB`")]
    InvalidSize(String),
    /// Text that is not a log filter.
    #[error(
        "invalid log filter `{0}`; write error, warn, info, debug, trace or off, also by module, \
         such as `warn,dossierd::engine=debug`"
    )]
    InvalidLogFilter(String),
    /// Text that is not an IP address with a port.
    #[error(
        "`{0}` is not an IP address with a port; write `127.0.0.1:PORT`, `[::1]:PORT` or `off`"
    )]
    InvalidAddress(String),
    /// An address that other machines may reach.
    #[error("`{0}` is not a loopback address; write `127.0.0.1:PORT`, `[::1]:PORT` or `off`")]
    NotLoopback(String),
    /// A loopback address with port 0.
    #[error("`{0}` has no valid port; write `127.0.0.1:PORT`, `[::1]:PORT` or `off`")]
    NoPort(String),
    /// Text that is not a URL.
    #[error("invalid URL: {0}")]
    InvalidUrl(#[source] http::uri::InvalidUri),
    /// A URL without scheme or host.
    #[error("the URL has no scheme or no host; begin it with `https://`")]
    IncompleteUrl,
    /// A URL with a scheme other than http and https.
    #[error("unsupported URL scheme; begin the URL with `https://`")]
    UnsupportedScheme,
    /// A Unix socket whose path is not absolute.
    #[error("the path of the socket is not absolute; write `unix:/path/of/socket`")]
    RelativeSocket,
    /// A query after the path of a Unix socket.
    #[error(
        "`?` and `#` are not allowed in the path of the socket; the path and query of the request follow it \
         after a colon, as in `unix:/path/of/socket:/path?query`"
    )]
    SocketQuery,
    /// Text that is not a user.
    #[error("write the name or the id of a user, or `*` for everybody")]
    InvalidUser,
    /// An http URL of another machine.
    #[error(
        "`http://` is allowed for this machine only (`localhost`, `127.0.0.1`, `[::1]`); use \
         `https://`"
    )]
    PlainHttp,
    /// A URL with a user name or password.
    #[error("remove the user name and password from the URL; requests are signed instead")]
    UrlCredentials,
    /// Neither of the two sources of the secret.
    #[error("missing `secret_file` or `secret_env`; one is required to sign requests")]
    NoSecret,
    /// Both sources of the secret.
    #[error("both `secret_file` and `secret_env` are set; remove one")]
    TwoSecrets,
    /// A secret instead of the path of its file.
    #[error("expected the path of a file, not a secret; write the secret to that file")]
    SecretAsPath,
    /// Text that is not the name of an environment variable.
    #[error(
        "invalid name of an environment variable; use up to 64 of `A` to `Z`, `0` to `9` and `_`"
    )]
    InvalidVariableName,
    /// A number out of range, or not a number.
    #[error("write a number from 1 to {max}")]
    OutOfRange {
        /// The largest accepted number.
        max: usize,
    },
    /// A timeout that is too long.
    #[error("the timeout is longer than {max_seconds}s; write at most that")]
    TimeoutTooLong {
        /// The longest accepted timeout.
        max_seconds: u64,
    },
    /// A size that is too small.
    #[error("write at least {min}")]
    SizeTooSmall {
        /// The smallest accepted size.
        min: String,
    },
    /// A size that is too large.
    #[error("write at most {max}")]
    SizeTooLarge {
        /// The largest accepted size.
        max: String,
    },
}
