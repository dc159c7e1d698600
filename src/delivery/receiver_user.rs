//! Checks whose receiver has been connected to. Plain HTTP does not show it: when the own receiver does not run,
//! another user of the machine can listen at its port, and would get the events and acknowledge them.
//!
//! A receiver of another user is refused, and so is one whose user cannot be determined.

use std::fs;
use std::io;
use std::net::SocketAddr;

use crate::config::ReceiverUser;
use crate::ownership::socket_owner::find_receivers;

/// Why a receiver is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiverUserError {
    #[error(
        "the receiver belongs to user {uid}, who could read the events; name that user in \
         `webhook.receiver_user` if that is intended"
    )]
    Other { uid: u32 },
    #[error(
        "cannot determine the user of the receiver: {0}; use `unix:`, or `receiver_user: '*'` to accept \
         everybody"
    )]
    Unknown(io::Error),
    #[error("there is no user `{0}` in /etc/passwd; write the user id in `webhook.receiver_user`")]
    NoSuchUser(String),
}

/// Checks who listens at `remote`, to which a connection from `local` is open.
pub(crate) fn check_tcp(
    allowed: Option<&ReceiverUser>,
    local: SocketAddr,
    remote: SocketAddr,
) -> Result<(), ReceiverUserError> {
    if allowed == Some(&ReceiverUser::Any) {
        return Ok(());
    }
    let owners = find_receivers(local, remote).map_err(ReceiverUserError::Unknown)?;
    if owners.is_empty() {
        let error = io::Error::other("the kernel lists no socket that listens at its address");
        return Err(ReceiverUserError::Unknown(error));
    }
    owners.into_iter().try_for_each(|uid| check_uid(allowed, uid))
}

/// Checks that a user is this one, or the one in the configuration.
pub(crate) fn check_uid(allowed: Option<&ReceiverUser>, uid: u32) -> Result<(), ReceiverUserError> {
    let is_allowed = uid == rustix::process::geteuid().as_raw()
        || match allowed {
            None => false,
            Some(ReceiverUser::Any) => true,
            Some(ReceiverUser::Id(allowed)) => uid == *allowed,
            Some(ReceiverUser::Name(name)) => uid == find_uid(name)?,
        };
    if is_allowed { Ok(()) } else { Err(ReceiverUserError::Other { uid }) }
}

fn find_uid(name: &str) -> Result<u32, ReceiverUserError> {
    let users = fs::read_to_string("/etc/passwd").map_err(ReceiverUserError::Unknown)?;
    let uid = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    uid.ok_or_else(|| ReceiverUserError::NoSuchUser(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn receiver_of_this_user_is_found_at_each_kind_of_address() {
        for (at, host) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("0.0.0.0:0", "127.0.0.1"),
            ("[::1]:0", "[::1]"),
            ("[::]:0", "[::1]"),
            ("[::]:0", "127.0.0.1"),
        ] {
            let Ok(listener) = TcpListener::bind(at) else { continue };
            let port = listener.local_addr().unwrap().port();
            let Ok(stream) = TcpStream::connect(format!("{host}:{port}")) else { continue };
            let (local, remote) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
            check_tcp(None, local, remote).unwrap();
            drop(listener);
            let gone = check_tcp(None, local, remote).unwrap_err().to_string();
            assert!(gone.contains("lists no socket"), "{gone}");
            check_tcp(Some(&ReceiverUser::Any), local, remote).unwrap();
        }
    }

    #[test]
    fn user_is_accepted_by_name_or_number() {
        let own = rustix::process::geteuid().as_raw();
        check_uid(None, own).unwrap();
        assert!(matches!(check_uid(None, own + 1), Err(ReceiverUserError::Other { .. })));
        check_uid(Some(&ReceiverUser::Id(own + 1)), own + 1).unwrap();
        assert!(check_uid(Some(&ReceiverUser::Id(own + 1)), own + 2).is_err());
        check_uid(Some(&ReceiverUser::Name("root".to_owned())), 0).unwrap();
        let unknown = ReceiverUser::Name("no-such-user-x".to_owned());
        assert!(matches!(
            check_uid(Some(&unknown), own + 1),
            Err(ReceiverUserError::NoSuchUser(_))
        ));
    }
}
