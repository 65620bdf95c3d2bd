//! What a key or the mouse means. The same keys mean the same everywhere.

use crossterm::event::{
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEventKind,
};

/// What a person wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Quit,
    Interrupt,
    Back,
    Open,
    Help,
    Search,
    /// The next match, or the one before.
    Next(bool),
    Mark,
    Split,
    Compare,
    Sort,
    /// Lines, up or down.
    Move(i64),
    /// Pages, up or down.
    Page(i64),
    Home,
    End,
    /// Columns, left or right.
    Shift(i64),
    /// Nodes, forth or back.
    Node(i64),
    Click(u16, u16),
    Char(char),
    Rub,
    Redraw,
    Nothing,
}

/// Lines per turn of the wheel.
const WHEEL: i64 = 3;
/// Columns per arrow.
const COLUMNS: i64 = 8;

/// While something is typed, letters are letters.
pub(super) fn wish(event: &Event, typing: bool) -> Wish {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => of_key(key, typing),
        Event::Mouse(mouse) => match mouse.kind {
            MouseEventKind::ScrollUp => Wish::Move(-WHEEL),
            MouseEventKind::ScrollDown => Wish::Move(WHEEL),
            MouseEventKind::Down(MouseButton::Left) => Wish::Click(mouse.column, mouse.row),
            _ => Wish::Nothing,
        },
        Event::Resize(..) => Wish::Redraw,
        _ => Wish::Nothing,
    }
}

fn of_key(key: &KeyEvent, typing: bool) -> Wish {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Wish::Interrupt,
            KeyCode::Char('l') => Wish::Redraw,
            KeyCode::Char('h') if typing => Wish::Rub,
            KeyCode::Char('n') => Wish::Move(1),
            KeyCode::Char('p') => Wish::Move(-1),
            _ => Wish::Nothing,
        };
    }
    match key.code {
        KeyCode::Esc => Wish::Back,
        KeyCode::Enter => Wish::Open,
        KeyCode::Backspace if typing => Wish::Rub,
        KeyCode::Backspace => Wish::Back,
        KeyCode::Up => Wish::Move(-1),
        KeyCode::Down => Wish::Move(1),
        KeyCode::PageUp => Wish::Page(-1),
        KeyCode::PageDown => Wish::Page(1),
        KeyCode::Home => Wish::Home,
        KeyCode::End => Wish::End,
        KeyCode::Left => Wish::Shift(-COLUMNS),
        KeyCode::Right => Wish::Shift(COLUMNS),
        KeyCode::Tab => Wish::Node(1),
        KeyCode::BackTab => Wish::Node(-1),
        KeyCode::Char(c) if typing => Wish::Char(c),
        KeyCode::Char(c) => of_letter(c),
        _ => Wish::Nothing,
    }
}

fn of_letter(letter: char) -> Wish {
    match letter {
        'q' => Wish::Quit,
        '?' => Wish::Help,
        '/' => Wish::Search,
        'n' => Wish::Next(true),
        'N' => Wish::Next(false),
        ' ' => Wish::Mark,
        's' => Wish::Split,
        'd' => Wish::Compare,
        'o' => Wish::Sort,
        'j' => Wish::Move(1),
        'k' => Wish::Move(-1),
        'g' => Wish::Home,
        'G' => Wish::End,
        // Answers to a question.
        c => Wish::Char(c),
    }
}

/// Shown by `?`.
pub(super) const HELP: &[&str] = &[
    "Enter    what the selected node says            Esc    back",
    "/        type a node's name, or what to find in its output",
    "n N      next match, the one before",
    "Tab      next node, Shift-Tab the one before",
    "Space    mark a node; s shows the marked ones side by side (without marks: from here on)",
    "d        outputs against the majority's",
    "o        order: as given, worst first",
    "arrows   move; PgUp, PgDn, Home, End; j k g G",
    "End      follow what comes",
    "q        leave; while the run goes on: asks whether to cancel it, or (with a shared core,",
    "         as with --persist) to leave it running: bssh job attach shows it again",
    "mouse    click selects, again opens; the wheel scrolls",
];
