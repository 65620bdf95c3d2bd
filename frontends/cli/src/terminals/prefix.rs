//! Our own commands among the keys: Ctrl-], then a letter.

/// Ctrl-]
pub(super) const PREFIX: u8 = 0x1d;
const ESC: u8 = 0x1b;
const CTRL_C: u8 = 0x03;

/// What is to be done with what was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// For the active nodes.
    Keys(Vec<u8>),
    /// The prefix was typed: what now?
    Ask,
    Next,
    Previous,
    /// A node's name as far as it has been typed.
    Naming(String),
    Go(String),
    All,
    Only,
    Toggle,
    List,
    Help,
    Redraw,
    Leave,
    /// Leave the terminals to the shared core.
    Detach,
    Forget,
}

/// Shown behind the prefix.
pub(super) const SHORT: &str =
    "n p next, previous  g name  a all  o only this  t this  l list  q leave  d detach  ?";

pub(super) const HELP: &[&str] = &[
    "Ctrl-] and then",
    "  n p     show the next node, the one before",
    "  g NAME  show a node by its name or the beginning of it",
    "  a       keys go to all nodes",
    "  o       keys go to the shown node only",
    "  t       the shown node gets keys, or no longer",
    "  l       the nodes: which get keys, which have ended",
    "  r       draw the screen again",
    "  q       hang up on all nodes and leave",
    "  d       leave the terminals to the shared core: bssh job attach shows them again",
    "  Ctrl-]  that key itself",
];

/// Reads keys.
#[derive(Debug, Default)]
pub(super) struct Prefix {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Keys,
    Command,
    Name(String),
}

impl Prefix {
    /// What was typed, as wishes in order.
    pub(super) fn read(&mut self, typed: &[u8]) -> Vec<Wish> {
        let mut wishes = Vec::new();
        let mut keys = Vec::with_capacity(typed.len());
        for byte in typed {
            match std::mem::take(&mut self.state) {
                State::Keys if *byte == PREFIX => {
                    if !keys.is_empty() {
                        wishes.push(Wish::Keys(std::mem::take(&mut keys)));
                    }
                    self.state = State::Command;
                    wishes.push(Wish::Ask);
                }
                State::Keys => keys.push(*byte),
                State::Command => match *byte {
                    b'g' => {
                        self.state = State::Name(String::new());
                        wishes.push(Wish::Naming(String::new()));
                    }
                    PREFIX => wishes.extend([Wish::Forget, Wish::Keys(vec![PREFIX])]),
                    byte => wishes.push(letter(byte)),
                },
                State::Name(mut name) => match *byte {
                    b'\r' | b'\n' => wishes.push(Wish::Go(name)),
                    ESC | CTRL_C | PREFIX => wishes.push(Wish::Forget),
                    byte => {
                        match byte {
                            0x7f | 0x08 => drop(name.pop().is_some()),
                            b' '..=b'~' => name.push(char::from(byte)),
                            _ => {}
                        }
                        wishes.push(Wish::Naming(name.clone()));
                        self.state = State::Name(name);
                    }
                },
            }
        }
        if !keys.is_empty() {
            wishes.push(Wish::Keys(keys));
        }
        wishes
    }
}

fn letter(byte: u8) -> Wish {
    match byte {
        b'n' => Wish::Next,
        b'p' => Wish::Previous,
        b'a' => Wish::All,
        b'o' => Wish::Only,
        b't' => Wish::Toggle,
        b'l' => Wish::List,
        b'r' => Wish::Redraw,
        b'q' => Wish::Leave,
        b'd' => Wish::Detach,
        b'?' => Wish::Help,
        _ => Wish::Forget,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_behind_the_prefix_only() {
        let mut prefix = Prefix::default();
        let keys = |text: &str| Wish::Keys(text.into());
        assert_eq!(prefix.read(b"ls\r"), [keys("ls\r")]);
        assert_eq!(prefix.read(b"a\x1dnq"), [keys("a"), Wish::Ask, Wish::Next, keys("q")]);
        assert_eq!(prefix.read(b"\x1d"), [Wish::Ask]);
        assert_eq!(prefix.read(b"\x1dx"), [Wish::Forget, keys("\x1d"), keys("x")]);
        let named = prefix.read(b"\x1dgn2\x7f3\r");
        assert_eq!(named.last(), Some(&Wish::Go("n3".to_owned())));
        assert_eq!(prefix.read(b"\x1dg\x1bx").last(), Some(&keys("x")));
    }
}
