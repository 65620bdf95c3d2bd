//! Cells to bytes: the terminal as ratatui draws on it, and the way in and out.
//!
//! Only sequences every terminal of the last decades has. [`Guard`] puts back settings, screen,
//! cursor and mouse when it is dropped; [`leave_screen`] does it where no guard is at hand.

use bssh_term::RawMode;
use ratatui_core::backend::{Backend, ClearType, WindowSize};
use ratatui_core::buffer::Cell;
use ratatui_core::layout::{Position, Size};
use ratatui_core::style::{Color, Modifier};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Alternate screen, no cursor, mouse clicks and wheel.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?1000h\x1b[?1006h\x1b[2J";
const LEAVE: &str = "\x1b[?1006l\x1b[?1000l\x1b[0m\x1b[?25h\x1b[?1049l";
/// Without a size from the terminal.
const USUAL: Size = Size { width: 80, height: 24 };

/// The screen is ours.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// The terminal while the view has it.
pub(super) struct Guard {
    raw: Option<RawMode>,
}

impl Guard {
    pub(super) fn enter() -> io::Result<Guard> {
        let terminal = std::fs::File::options().read(true).write(true).open("/dev/tty");
        let raw = match terminal {
            Ok(terminal) => RawMode::raw(terminal)?,
            Err(_) => RawMode::raw(io::stdin())?,
        };
        ENTERED.store(true, SeqCst);
        bssh_term::try_put(ENTER.as_bytes())?;
        Ok(Guard { raw: Some(raw) })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        leave_screen();
        self.raw = None;
    }
}

/// Gives the screen back, if it was taken.
pub(crate) fn leave_screen() {
    if ENTERED.swap(false, SeqCst) {
        // A terminal that has gone needs no restoring.
        bssh_term::put(LEAVE.as_bytes());
    }
}

/// Draws on stdout.
pub(super) struct Ansi {
    colors: bool,
    bytes: Vec<u8>,
}

impl Ansi {
    pub(super) fn new(colors: bool) -> Ansi {
        Ansi { colors, bytes: Vec::new() }
    }

    fn put(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn style(&mut self, (fg, bg, modifier): Style) {
        self.put("\x1b[0");
        for (flag, code) in [
            (Modifier::BOLD, ";1"),
            (Modifier::DIM, ";2"),
            (Modifier::UNDERLINED, ";4"),
            (Modifier::REVERSED, ";7"),
        ] {
            if modifier.contains(flag) {
                self.put(code);
            }
        }
        if self.colors {
            for (color, base) in [(fg, 30), (bg, 40)] {
                if let Some(n) = number(color) {
                    self.put(&format!(";{}", base + n));
                }
            }
        }
        self.put("m");
    }
}

type Style = (Color, Color, Modifier);

/// Only the eight colours everybody has are used.
fn number(color: Color) -> Option<u8> {
    Some(match color {
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Blue => 4,
        Color::Magenta => 5,
        Color::Cyan => 6,
        Color::White => 7,
        _ => return None,
    })
}

impl Backend for Ansi {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut next: Option<(u16, u16)> = None;
        let mut style: Option<Style> = None;
        for (x, y, cell) in content {
            if next != Some((x, y)) {
                self.put(&format!("\x1b[{};{}H", y + 1, x + 1));
            }
            let wanted = (cell.fg, cell.bg, cell.modifier);
            if style != Some(wanted) {
                self.style(wanted);
                style = Some(wanted);
            }
            let symbol = cell.symbol();
            self.put(symbol);
            // How wide others are terminals do not agree on.
            next = (symbol.len() == 1).then_some((x + 1, y));
        }
        self.put("\x1b[0m");
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.put("\x1b[?25l");
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.put("\x1b[?25h");
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let Position { x, y } = position.into();
        self.put(&format!("\x1b[{};{}H", y + 1, x + 1));
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.put("\x1b[0m\x1b[2J");
        Ok(())
    }

    fn clear_region(&mut self, _: ClearType) -> io::Result<()> {
        self.clear()
    }

    fn size(&self) -> io::Result<Size> {
        let size = bssh_term::size(rustix::stdio::stdout());
        let side = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
        Ok(size.map_or(USUAL, |s| Size { width: side(s.cols), height: side(s.rows) }))
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::default() })
    }

    fn flush(&mut self) -> io::Result<()> {
        bssh_term::try_put(&std::mem::take(&mut self.bytes))
    }
}
