//! Colours by what they are for, as the configuration wishes them (`interactive: colors:`).

use bssh_protocol::session::Interactive;
use bssh_term::{Color, Look, RESET};
use std::collections::BTreeMap;

/// What has a colour of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Prompt,
    Node,
    Command,
    Success,
    Error,
    Warning,
}

impl Role {
    /// Its name in the configuration, and its colour where that says nothing.
    fn usual(self) -> (&'static str, Color) {
        match self {
            Role::Prompt => ("prompt", Color::Header),
            Role::Node => ("node", Color::Header),
            Role::Command => ("command", Color::Active),
            Role::Success => ("success", Color::Ok),
            Role::Error => ("error", Color::Failed),
            Role::Warning => ("warning", Color::Count),
        }
    }
}

/// How to draw.
#[derive(Debug, Clone)]
pub(crate) struct Paint {
    pub look: Look,
    /// What begins the colours that are not the usual ones.
    own: BTreeMap<String, String>,
}

impl Paint {
    pub(crate) fn new(look: Look, wishes: &Interactive) -> Paint {
        let own = wishes.colors.iter().map(|(role, color)| (role.clone(), start(color)));
        Paint { look, own: own.collect() }
    }

    /// `text` in the colour of its role, or as it is.
    pub(crate) fn paint(&self, role: Role, text: &str) -> String {
        let (name, usual) = role.usual();
        match self.own.get(name).filter(|_| self.look.colors) {
            None => self.look.paint(usual, text),
            Some(start) if start.is_empty() => text.to_owned(),
            Some(start) => format!("{start}{text}{RESET}"),
        }
    }
}

/// The escape sequence of a colour's name or `#rrggbb`; nothing for `default`.
fn start(color: &str) -> String {
    const NAMES: [&str; 8] =
        ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
    let rgb = |at: usize| {
        let digits = color.strip_prefix('#').and_then(|hex| hex.get(at..at + 2));
        digits.and_then(|d| u8::from_str_radix(d, 16).ok())
    };
    if let (Some(r), Some(g), Some(b)) = (rgb(0), rgb(2), rgb(4)) {
        return format!("\x1b[38;2;{r};{g};{b}m");
    }
    match NAMES.iter().position(|name| *name == color) {
        Some(n) => format!("\x1b[{}m", 30 + n),
        None if color == "dim" => Color::Dim.start().to_owned(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bssh_term::{ColorChoice, Terminal};

    #[test]
    fn colors_are_the_configurations_or_the_usual_ones() {
        let wish = |(role, color): (&str, &str)| (role.to_owned(), color.to_owned());
        let wishes = [("prompt", "#ff0080"), ("node", "default"), ("error", "magenta")];
        let wishes =
            Interactive { colors: wishes.map(wish).into_iter().collect(), ..Default::default() };
        let colored = Terminal { choice: ColorChoice::Always, ..Terminal::default() };
        let paint = Paint::new(Look::new(colored), &wishes);
        for (role, want) in [
            (Role::Prompt, "\x1b[38;2;255;0;128mx\x1b[0m"),
            (Role::Node, "x"),
            (Role::Error, "\x1b[35mx\x1b[0m"),
            (Role::Success, "\x1b[32mx\x1b[0m"),
        ] {
            assert_eq!(paint.paint(role, "x"), want, "{role:?}");
        }
        let plain = Paint::new(Look::new(Terminal::default()), &wishes);
        assert_eq!(plain.paint(Role::Prompt, "x"), "x");
    }
}
