//! The terminal: raw mode, alternate screen, keys, and how all of it is undone on every way out.

use std::io::{self, Stdout, Write as _};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{
    self, DisableMouseCapture, EnableMouseCapture, Event, KeyCode, KeyEventKind, KeyModifiers,
    MouseButton, MouseEventKind,
};
use ratatui::crossterm::execute;
use ratatui::crossterm::style::force_color_output;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::layout::{Position, Rect};
use tokio::sync::mpsc;

use crate::cli::top::input::{Input, Key};

/// Number of inputs that wait for the screen; the thread that reads the terminal then waits.
const INPUT_CAPACITY: usize = 64;

/// True while the terminal is in raw mode and shows the alternate screen.
static IS_ENTERED: AtomicBool = AtomicBool::new(false);

/// Whether the mouse selects rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Mouse {
    Select,
    /// The terminal itself handles the mouse, for example to select text.
    Ignore,
}

/// The terminal while it belongs to this program; dropping it restores the terminal.
pub(super) struct Screen {
    pub(super) terminal: Terminal<CrosstermBackend<io::BufWriter<Stdout>>>,
    mouse: Mouse,
}

impl Screen {
    /// Takes the terminal over.
    pub(super) fn enter(mouse: Mouse) -> io::Result<Self> {
        // Which colours are used is decided by `--color`, `NO_COLOR` and others together.
        force_color_output(true);
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            leave();
            before(panic);
        }));
        let backend = CrosstermBackend::new(io::BufWriter::with_capacity(1 << 16, io::stdout()));
        let mut screen = Self { terminal: Terminal::new(backend)?, mouse };
        screen.resume()?;
        Ok(screen)
    }

    /// Takes the terminal over again, also after another program changed it; the next frame is a whole one.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        if IS_ENTERED.swap(true, Ordering::SeqCst) {
            // A shell that continued this process may have set other modes.
            disable_raw_mode()?;
        }
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        if self.mouse == Mouse::Select {
            execute!(io::stdout(), EnableMouseCapture)?;
        }
        self.redraw()
    }

    /// Makes the next frame a whole one. `Terminal::clear` would ask the terminal for the position of its
    /// cursor, and the answer would go to the thread that reads the keys.
    pub(super) fn redraw(&mut self) -> io::Result<()> {
        let area = Rect::from((Position::ORIGIN, self.terminal.size()?));
        self.terminal.resize(area)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// Restores the terminal, if it is not.
pub(super) fn leave() {
    if !IS_ENTERED.swap(false, Ordering::SeqCst) {
        return;
    }
    // These fail only if the terminal was closed.
    let _ = execute!(io::stdout(), DisableMouseCapture, Show, LeaveAlternateScreen);
    let _ = io::stdout().flush();
    let _ = disable_raw_mode();
}

/// Starts the thread that reads the terminal. The channel ends with the terminal.
pub(super) fn read_inputs() -> io::Result<mpsc::Receiver<Input>> {
    let (sender, receiver) = mpsc::channel(INPUT_CAPACITY);
    thread::Builder::new().name("terminal-input".to_owned()).spawn(move || {
        while let Ok(event) = event::read() {
            let Some(input) = to_input(&event) else { continue };
            if sender.blocking_send(input).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

fn to_input(event: &Event) -> Option<Input> {
    match event {
        Event::Resize(columns, rows) => Some(Input::Resize(*columns, *rows)),
        Event::Key(key) if key.kind != KeyEventKind::Release => {
            to_key(key.code, key.modifiers).map(Input::Key)
        }
        Event::Mouse(mouse) => match mouse.kind {
            MouseEventKind::ScrollUp => Some(Input::Key(Key::Up)),
            MouseEventKind::ScrollDown => Some(Input::Key(Key::Down)),
            MouseEventKind::Down(MouseButton::Left) => Some(Input::Click(mouse.row)),
            _ => None,
        },
        _ => None,
    }
}

fn to_key(code: KeyCode, modifiers: KeyModifiers) -> Option<Key> {
    Some(match code {
        KeyCode::Char(c) if modifiers.contains(KeyModifiers::CONTROL) => Key::Ctrl(c),
        KeyCode::Char(_) if modifiers.contains(KeyModifiers::ALT) => return None,
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}
