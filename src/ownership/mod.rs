//! Which user owns a file, a directory or a TCP socket of this machine, and whether others can change it.
//! Files in projects are not its subject: every user who may write there may change them.

pub mod private_dir;
mod sock_diag;
pub mod socket_owner;
mod tcp_table;

pub use private_dir::{
    PrivateDirError, check_parents, check_private_file, ensure_private_dir, private_open_options,
    read_private_file,
};
pub use tcp_table::{TcpSocket, read_tcp_tables};
