//! The dashboard: its listener on loopback, access control and page. Data comes from `handlers`.

pub(crate) mod control;
pub(crate) mod guard;
pub(crate) mod kept;
pub(crate) mod listener;
pub(crate) mod random_token;
pub(crate) mod sessions;
pub(crate) mod state;
pub(crate) mod static_files;
