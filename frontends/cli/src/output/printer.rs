//! Lines of many nodes, each with its node's name in front.
//!
//! The format is pdsh's and clush's: `node: line`. A part of a very long line that continues the
//! one before says `node+ ` instead; without a head the parts are one line again. A last line
//! without newline gets one, unless the run has a single node and no prefix: then bytes pass
//! untouched.

use super::lines::{Line, Lines};
use super::{Nodes, Piece, Screen, Style, To, side};
use bssh_client::Channel;
use bssh_term::Color;
use bssh_term::harmless;

/// Turns bytes into prefixed lines.
#[derive(Debug)]
pub(crate) struct Printer {
    style: Style,
    /// Per node; empty names mean no prefix.
    heads: Vec<Box<[u8]>>,
    /// The same with colours, if stdout or stderr has any.
    colored: Vec<Box<[u8]>>,
    lines: Vec<[Lines; 2]>,
    /// Without heads: the node whose line is only begun, on stdout and on stderr.
    open: [Option<usize>; 2],
    /// Bytes pass as they are.
    raw: bool,
}

impl Printer {
    pub(crate) fn new(nodes: &Nodes, style: Style, prefix: bool) -> Self {
        let colors = style.out.colors || style.err.colors;
        let paint = |name: &String| {
            let look = bssh_term::Look { colors: true, ..style.out };
            look.paint(Color::Header, name).into_bytes().into_boxed_slice()
        };
        let heads = |wanted: bool, make: &dyn Fn(&String) -> Box<[u8]>| match wanted {
            true => nodes.names.iter().map(make).collect(),
            false => Vec::new(),
        };
        Printer {
            style,
            heads: heads(prefix, &|name| name.as_bytes().into()),
            colored: heads(prefix && colors, &paint),
            lines: std::iter::repeat_with(Default::default).take(nodes.len()).collect(),
            open: [None; 2],
            raw: !prefix && nodes.len() == 1,
        }
    }

    /// Appends every line the bytes complete.
    pub(crate) fn data(&mut self, piece: Piece<'_>, screen: &mut Screen) {
        let to = piece.to();
        if self.raw && !self.style.is_terminal(to) {
            return screen.to(to).extend_from_slice(piece.bytes);
        }
        let (mut line, lines) = self.line(piece.node, piece.channel, screen);
        if let Some(lines) = lines {
            lines.push(piece.bytes, |l| line.print(l));
        }
    }

    /// A node's streams have ended: appends its unfinished lines.
    pub(crate) fn ended(&mut self, node: usize, screen: &mut Screen) {
        for channel in [Channel::Stdout, Channel::Stderr] {
            let unfinished = self.lines.get(node).and_then(|pair| pair.get(side(channel)));
            if unfinished.is_none_or(Lines::is_empty) {
                continue;
            }
            let (mut line, lines) = self.line(node, channel, screen);
            if let Some(lines) = lines {
                lines.end(|l| line.print(l));
            }
        }
    }

    /// Appends the lines that bytes of no particular node complete, to stdout.
    pub(crate) fn plain(&self, lines: &mut Lines, bytes: &[u8], screen: &mut Screen) {
        let mut open = None;
        let mut printed = self.headless(&mut open, screen);
        lines.push(bytes, |l| printed.print(l));
    }

    /// Appends the last line, if it has no newline.
    pub(crate) fn plain_end(&self, lines: &mut Lines, screen: &mut Screen) {
        if !lines.is_empty() {
            let mut open = None;
            let mut printed = self.headless(&mut open, screen);
            lines.end(|l| printed.print(l));
        }
    }

    fn headless<'a>(&self, open: &'a mut Option<usize>, screen: &'a mut Screen) -> Printed<'a> {
        let harmless = self.style.is_terminal(To::Out);
        Printed { head: b"", harmless, node: 0, open, to: screen.to(To::Out) }
    }

    /// Appends one line under a name of its own.
    pub(crate) fn under(&self, name: &str, line: Line<'_>, to: To, screen: &mut Screen) {
        let head = self.style.look(to).paint(Color::Header, name);
        let harmless = self.style.is_terminal(to);
        let (head, to) = (head.as_bytes(), screen.to(to));
        Printed { head, harmless, node: 0, open: &mut None, to }.print(line);
    }

    fn line<'a>(
        &'a mut self,
        node: usize,
        channel: Channel,
        screen: &'a mut Screen,
    ) -> (Printed<'a>, Option<&'a mut Lines>) {
        let to = Piece { node, channel, bytes: b"" }.to();
        let heads = if self.style.look(to).colors { &self.colored } else { &self.heads };
        let head: &[u8] = heads.get(node).map_or(b"", |h| h);
        let harmless = self.style.is_terminal(to);
        let lines = self.lines.get_mut(node).and_then(|pair| pair.get_mut(side(channel)));
        let [out, err] = &mut self.open;
        let open = if channel == Channel::Stdout { out } else { err };
        (Printed { head, harmless, node, open, to: screen.to(to) }, lines)
    }
}

/// Where a line goes and what stands before it.
struct Printed<'a> {
    head: &'a [u8],
    harmless: bool,
    node: usize,
    open: &'a mut Option<usize>,
    to: &'a mut Vec<u8>,
}

impl Printed<'_> {
    fn print(&mut self, line: Line<'_>) {
        if !self.head.is_empty() {
            self.to.extend_from_slice(self.head);
            self.to.extend_from_slice(if line.continued { b"+ " } else { b": " });
        } else if self.open.take().is_some_and(|node| node != self.node) {
            // Two nodes in one line would be worse than a line in two.
            self.to.push(b'\n');
        }
        match self.harmless {
            true => harmless(line.bytes, self.to),
            false => self.to.extend_from_slice(line.bytes),
        }
        match line.ends || !self.head.is_empty() {
            true => self.to.push(b'\n'),
            false => *self.open = Some(self.node),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use bssh_term::{ColorChoice, Look, Terminal};

    pub(crate) fn style(terminal: bool) -> Style {
        let choice = ColorChoice::Never;
        let look = Look::new(Terminal { locale: "C.UTF-8", choice, ..Terminal::default() });
        Style { out: look, err: look, out_terminal: terminal, err_terminal: terminal }
    }

    pub(crate) fn nodes(names: &str) -> Nodes {
        Nodes::new(names.split(' ').map(str::to_owned).collect())
    }

    pub(crate) fn out(node: usize, bytes: &[u8]) -> Piece<'_> {
        Piece { node, channel: Channel::Stdout, bytes }
    }

    pub(crate) fn err(node: usize, bytes: &[u8]) -> Piece<'_> {
        Piece { node, channel: Channel::Stderr, bytes }
    }

    #[test]
    fn lines_of_two_nodes_never_mix() {
        let mut screen = Screen::default();
        let mut printer = Printer::new(&nodes("a b"), style(false), true);
        printer.data(out(0, b"one\ntw"), &mut screen);
        printer.data(out(1, b"eins\r\nzwei"), &mut screen);
        printer.data(err(0, b"oops"), &mut screen);
        printer.data(out(0, b"o\n"), &mut screen);
        printer.ended(0, &mut screen);
        printer.ended(1, &mut screen);
        assert_eq!(screen.text(To::Out), "a: one\nb: eins\r\na: two\nb: zwei\n");
        assert_eq!(screen.text(To::Err), "a: oops\n");
    }

    #[test]
    fn without_prefix_one_node_passes_untouched() {
        let mut screen = Screen::default();
        let mut printer = Printer::new(&nodes("a"), style(false), false);
        printer.data(out(0, b"no\nnewline"), &mut screen);
        printer.ended(0, &mut screen);
        assert_eq!(screen.text(To::Out), "no\nnewline");
        let mut screen = Screen::default();
        let mut printer = Printer::new(&nodes("a b"), style(false), false);
        printer.data(out(0, b"no\nnewline"), &mut screen);
        printer.ended(0, &mut screen);
        assert_eq!(screen.text(To::Out), "no\nnewline\n");
    }

    #[test]
    fn a_line_without_end_is_cut_and_marked() {
        let mut screen = Screen::default();
        let mut printer = Printer::new(&nodes("a"), style(false), true);
        printer.data(out(0, &[b'x'; 70_000]), &mut screen);
        printer.ended(0, &mut screen);
        let text = screen.text(To::Out);
        let starts: Vec<_> = text.lines().map(|l| &l[..4]).collect();
        assert_eq!(starts, ["a: x", "a+ x"]);
    }

    #[test]
    fn without_heads_a_long_line_is_one_line_unless_another_node_comes_between() {
        let mut screen = Screen::default();
        let mut printer = Printer::new(&nodes("a b"), style(false), false);
        let long = [b'x'; 70_000];
        printer.data(out(0, &long), &mut screen);
        printer.data(out(0, b"end\nnext"), &mut screen);
        printer.ended(0, &mut screen);
        let text = screen.text(To::Out);
        let lengths: Vec<_> = text.lines().map(str::len).collect();
        assert_eq!(lengths, [70_003, 4]);
        let mut screen = Screen::default();
        printer.data(out(0, &long), &mut screen);
        printer.data(out(1, b"b\n"), &mut screen);
        printer.data(out(0, b"\n"), &mut screen);
        let text = screen.text(To::Out);
        assert_eq!(text.lines().map(str::len).collect::<Vec<_>>(), [65_536, 1, 4464]);
        let mut screen = Screen::default();
        let mut lines = Lines::default();
        printer.plain(&mut lines, &long, &mut screen);
        printer.plain_end(&mut lines, &mut screen);
        assert_eq!(screen.text(To::Out).lines().map(str::len).collect::<Vec<_>>(), [70_000]);
    }

    #[test]
    fn terminals_are_protected() {
        let mut screen = Screen::default();
        let mut printer = Printer::new(&nodes("a"), style(true), true);
        printer.data(out(0, b"\x1b[2J\n"), &mut screen);
        assert_eq!(screen.text(To::Out), "a: ^[[2J\n");
    }
}
