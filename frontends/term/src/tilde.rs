//! Commands behind a tilde at the start of a line, as ssh(1) has them.

/// Looks for them in what is typed.
pub struct Tilde {
    commands: &'static [u8],
    at_start: bool,
    seen: bool,
}

impl Tilde {
    /// A line has not begun yet. `commands` are the letters that mean something.
    pub fn new(commands: &'static [u8]) -> Tilde {
        Tilde { commands, at_start: true, seen: false }
    }

    /// What goes on, and the command behind it, if one was typed. What follows it is dropped.
    pub fn pass(&mut self, typed: &[u8]) -> (Vec<u8>, Option<u8>) {
        let mut on = Vec::with_capacity(typed.len());
        for byte in typed {
            match (std::mem::take(&mut self.seen), byte) {
                (true, command) if self.commands.contains(command) => {
                    return (on, Some(*command));
                }
                (true, b'~') => on.push(b'~'),
                (true, other) => on.extend([b'~', *other]),
                (false, b'~') if self.at_start => {
                    self.seen = true;
                    continue;
                }
                (false, other) => on.push(*other),
            }
            self.at_start = matches!(byte, b'\r' | b'\n');
        }
        (on, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_at_the_start_of_a_line_only() {
        for (typed, on, command) in [
            ("ls\r~.", "ls\r", Some(b'.')),
            ("a~.b", "a~.b", None),
            ("~d", "", Some(b'd')),
            ("a~d", "a~d", None),
            ("~~d", "~d", None),
            ("~~x", "~x", None),
            ("~x", "~x", None),
            ("\r~", "\r", None),
        ] {
            let (got, wish) = Tilde::new(b".d").pass(typed.as_bytes());
            assert_eq!((got.as_slice(), wish), (on.as_bytes(), command), "{typed:?}");
        }
        let mut tilde = Tilde::new(b".");
        assert_eq!(tilde.pass(b"~d\r"), (b"~d\r".to_vec(), None));
        assert_eq!(tilde.pass(b"~"), (vec![], None));
        assert_eq!(tilde.pass(b"."), (vec![], Some(b'.')));
    }
}
