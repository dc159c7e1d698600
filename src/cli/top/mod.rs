//! `dossierd top`: the state of all features and live events on the whole screen.
//!
//! `state` decides what the screen shows after each input, and what to ask for; `draw` turns it into rows.
//! Both are pure. `session` passes inputs and requests between them, the terminal (`screen`) and the daemon
//! (`requests`), and waits for none of these while it draws.

mod draw;
mod input;
mod requests;
mod rows;
mod screen;
mod session;
mod state;
mod styled;
#[cfg(test)]
mod tests;

pub(super) use draw::Palette;
pub(super) use screen::Mouse;
pub(super) use session::{Ending, TopSession};
