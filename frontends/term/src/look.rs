//! Colours and glyphs, and whether to use them.
//!
//! Colours obey `--color`, then `NO_COLOR` (<https://no-color.org>), then `CLICOLOR_FORCE`, then
//! whether the output is a terminal. Glyphs beyond ASCII need a UTF-8 locale and a terminal that
//! has them.

/// What `--color` was set to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ColorChoice {
    #[default]
    Auto,
    Always,
    Never,
}

/// What is known about a terminal and its user's wishes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terminal<'a> {
    /// The output is a terminal.
    pub is_terminal: bool,
    pub choice: ColorChoice,
    /// `NO_COLOR` is set and not empty.
    pub no_color: bool,
    /// `CLICOLOR_FORCE` is set and neither empty nor `0`.
    pub force_color: bool,
    /// `TERM`
    pub term: &'a str,
    /// The first of `LC_ALL`, `LC_CTYPE` and `LANG` that is not empty.
    pub locale: &'a str,
}

/// How to draw on one output.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub colors: bool,
    pub glyphs: &'static Glyphs,
}

impl Look {
    /// Decides for one output.
    pub fn new(terminal: Terminal<'_>) -> Look {
        let colors = match terminal.choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto if terminal.no_color => false,
            ColorChoice::Auto if terminal.force_color => true,
            ColorChoice::Auto => terminal.is_terminal && terminal.term != "dumb",
        };
        let locale = terminal.locale.to_ascii_lowercase();
        let utf8 = locale.contains("utf-8") || locale.contains("utf8");
        let capable = !matches!(terminal.term, "linux" | "dumb");
        Look { colors, glyphs: if utf8 && capable { &UNICODE } else { &ASCII } }
    }

    /// `text` in a colour, or as it is.
    pub fn paint(&self, color: Color, text: &str) -> String {
        match self.colors {
            true => format!("{}{text}{RESET}", color.start()),
            false => text.to_owned(),
        }
    }
}

/// The roles colours have everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// Headers and prompts: cyan.
    Header,
    /// Success: green.
    Ok,
    /// Failure: red.
    Failed,
    /// Counts and warnings: yellow.
    Count,
    /// Active: blue.
    Active,
    /// Secondary: dim.
    Dim,
}

/// Ends a colour.
pub const RESET: &str = "\x1b[0m";

impl Color {
    /// The escape sequence that starts it.
    pub fn start(self) -> &'static str {
        match self {
            Color::Header => "\x1b[36m",
            Color::Ok => "\x1b[32m",
            Color::Failed => "\x1b[31m",
            Color::Count => "\x1b[33m",
            Color::Active => "\x1b[34m",
            Color::Dim => "\x1b[2m",
        }
    }
}

/// The signs of node states and decoration.
#[derive(Debug, PartialEq, Eq)]
pub struct Glyphs {
    pub pending: &'static str,
    pub connecting: &'static str,
    pub executing: &'static str,
    pub ended: &'static str,
    pub ok: &'static str,
    pub failed: &'static str,
    pub detail: &'static str,
    pub dot: &'static str,
    pub dash: &'static str,
    pub spinner: &'static [&'static str],
}

const UNICODE: Glyphs = Glyphs {
    pending: "○",
    connecting: "◐",
    executing: "◑",
    ended: "●",
    ok: "✓",
    failed: "✗",
    detail: "└",
    dot: "•",
    dash: "–",
    spinner: &["⣾", "⣽", "⣻", "⣟", "⣯", "⣷", "⣿"],
};

const ASCII: Glyphs = Glyphs {
    pending: ".",
    connecting: "-",
    executing: "+",
    ended: "*",
    ok: "ok",
    failed: "FAILED",
    detail: " ",
    dot: "|",
    dash: "-",
    spinner: &["|", "/", "-", "\\"],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_follow_choice_then_environment_then_terminal() {
        let t = Terminal { is_terminal: true, term: "xterm", ..Terminal::default() };
        let pipe = Terminal { is_terminal: false, ..t };
        for (terminal, colors) in [
            (t, true),
            (pipe, false),
            (Terminal { no_color: true, ..t }, false),
            (Terminal { force_color: true, ..pipe }, true),
            (Terminal { force_color: true, no_color: true, ..t }, false),
            (Terminal { choice: ColorChoice::Always, no_color: true, ..pipe }, true),
            (Terminal { choice: ColorChoice::Never, force_color: true, ..t }, false),
            (Terminal { term: "dumb", ..t }, false),
        ] {
            assert_eq!(Look::new(terminal).colors, colors, "{terminal:?}");
        }
    }

    #[test]
    fn glyphs_need_a_utf8_locale_and_a_capable_terminal() {
        for (locale, term, unicode) in [
            ("en_US.UTF-8", "xterm", true),
            ("C.utf8", "xterm", true),
            ("C", "xterm", false),
            ("", "xterm", false),
            ("en_US.UTF-8", "linux", false),
        ] {
            let look = Look::new(Terminal { locale, term, ..Terminal::default() });
            assert_eq!(*look.glyphs == UNICODE, unicode, "{locale} {term}");
        }
    }
}
