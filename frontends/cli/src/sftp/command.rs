//! What a line means: a command with its flags and paths. Nothing is looked up here.

use super::line::{cut, literal};

/// A line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub command: Option<Command>,
    /// A `-` in front: a failure does not end a batch.
    pub forgiving: bool,
    /// An `@` in front: it is not shown before it is done.
    pub silent: bool,
}

/// Flags of `get` and `put`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Carry {
    pub append: bool,
    pub fsync: bool,
    pub preserve: bool,
    pub recursive: bool,
}

/// How `ls` shows things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ls {
    pub long: bool,
    /// One name a line.
    pub single: bool,
    pub numeric: bool,
    pub human: bool,
    pub all: bool,
    pub reverse: bool,
    pub sort: Sort,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Name,
    Time,
    Size,
    /// As the node has them.
    Not,
}

/// Patterns are still words as typed; other paths are literal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Get { from: Vec<u8>, to: Option<Vec<u8>>, how: Carry },
    Put { from: Vec<u8>, to: Option<Vec<u8>>, how: Carry },
    Cd(Option<Vec<u8>>),
    Lcd(Option<Vec<u8>>),
    Ls { path: Option<Vec<u8>>, how: Ls },
    Lls(Vec<u8>),
    Pwd,
    Lpwd,
    Mkdir(Vec<u8>),
    Lmkdir(Vec<u8>),
    Rm(Vec<u8>),
    Rmdir(Vec<u8>),
    Rename { from: Vec<u8>, to: Vec<u8>, old_way: bool },
    Link { from: Vec<u8>, to: Vec<u8> },
    Symlink { text: Vec<u8>, name: Vec<u8> },
    Copy { from: Vec<u8>, to: Vec<u8> },
    Chmod { mode: u32, path: Vec<u8>, of_link: bool },
    Chown { user: u32, path: Vec<u8>, of_link: bool },
    Chgrp { group: u32, path: Vec<u8>, of_link: bool },
    Df { path: Option<Vec<u8>>, human: bool, inodes: bool },
    Lumask(u32),
    Shell(Vec<u8>),
    Progress,
    Version,
    Help,
    Quit,
}

/// What a command's paths are, for completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paths {
    None,
    Remote,
    Here,
}

/// Every name, what its paths are, and its line of the help (empty: it has another name there).
#[rustfmt::skip]
pub(super) const COMMANDS: &[(&str, Paths, &str)] = &[
    ("bye", Paths::None, "bye                                Quit sftp"),
    ("cd", Paths::Remote, "cd path                            Change remote directory to 'path'"),
    ("chdir", Paths::Remote, ""),
    ("chgrp", Paths::Remote, "chgrp [-h] grp path                Change group of file 'path' to 'grp'"),
    ("chmod", Paths::Remote, "chmod [-h] mode path               Change permissions of file 'path' to 'mode'"),
    ("chown", Paths::Remote, "chown [-h] own path                Change owner of file 'path' to 'own'"),
    ("copy", Paths::Remote, "copy oldpath newpath               Copy remote file"),
    ("cp", Paths::Remote, "cp oldpath newpath                 Copy remote file"),
    ("df", Paths::Remote, "df [-hi] [path]                    Display statistics for current directory or\n                                   filesystem containing 'path'"),
    ("dir", Paths::Remote, ""),
    ("exit", Paths::None, "exit                               Quit sftp"),
    ("get", Paths::Remote, "get [-afpR] remote [local]         Download file"),
    ("help", Paths::None, "help                               Display this help text"),
    ("lcd", Paths::Here, "lcd path                           Change local directory to 'path'"),
    ("lchdir", Paths::Here, ""),
    ("lls", Paths::Here, "lls [ls-options [path]]            Display local directory listing"),
    ("lmkdir", Paths::Here, "lmkdir path                        Create local directory"),
    ("ln", Paths::Remote, "ln [-s] oldpath newpath            Link remote file (-s for symlink)"),
    ("lpwd", Paths::Here, "lpwd                               Print local working directory"),
    ("ls", Paths::Remote, "ls [-1afhlnrSt] [path]             Display remote directory listing"),
    ("lumask", Paths::None, "lumask umask                       Set local umask to 'umask'"),
    ("mkdir", Paths::Remote, "mkdir path                         Create remote directory"),
    ("mget", Paths::Remote, ""),
    ("mput", Paths::Here, ""),
    ("progress", Paths::None, "progress                           Toggle display of progress meter"),
    ("put", Paths::Here, "put [-afpR] local [remote]         Upload file"),
    ("pwd", Paths::Remote, "pwd                                Display remote working directory"),
    ("quit", Paths::None, "quit                               Quit sftp"),
    ("reget", Paths::Remote, "reget [-fpR] remote [local]        Resume download file"),
    ("rename", Paths::Remote, "rename oldpath newpath             Rename remote file"),
    ("reput", Paths::Here, "reput [-fpR] local [remote]        Resume upload file"),
    ("rm", Paths::Remote, "rm path                            Delete remote file"),
    ("rmdir", Paths::Remote, "rmdir path                         Remove remote directory"),
    ("symlink", Paths::Remote, "symlink oldpath newpath            Symlink remote file"),
    ("version", Paths::None, "version                            Show SFTP version"),
    ("!", Paths::None, "!command                           Execute 'command' in local shell\n!                                  Escape to local shell"),
    ("?", Paths::None, "?                                  Synonym for help"),
];

/// The text of `help`.
pub(super) fn help() -> String {
    let lines = COMMANDS.iter().map(|(.., line)| *line).filter(|line| !line.is_empty());
    lines.fold("Available commands:\n".to_owned(), |text, line| text + line + "\n")
}

/// Reads a line. What is in front of the command is known even if the command is wrong.
pub(super) fn read(line: &[u8]) -> (Line, Result<(), String>) {
    let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    let mut rest = line;
    let mut out = Line::default();
    let skip = |text: &mut &[u8]| {
        while let Some((_, after)) = text.split_first().filter(|(b, _)| blank(b)) {
            *text = after;
        }
    };
    skip(&mut rest);
    while let Some((mark @ (b'-' | b'@'), after)) = rest.split_first() {
        (out.forgiving, out.silent) = (out.forgiving || *mark == b'-', out.silent || *mark == b'@');
        rest = after;
    }
    skip(&mut rest);
    if rest.is_empty() || rest.starts_with(b"#") {
        return (out, Ok(()));
    }
    match command(rest) {
        Ok(command) => out.command = Some(command),
        Err(why) => return (out, Err(why)),
    }
    (out, Ok(()))
}

/// A command's words behind its name, flags taken off.
struct Arguments<'a> {
    name: &'a str,
    flags: Vec<u8>,
    words: std::vec::IntoIter<Vec<u8>>,
}

impl Arguments<'_> {
    fn has(&self, flag: u8) -> bool {
        self.flags.contains(&flag)
    }

    fn one(&mut self) -> Result<Vec<u8>, String> {
        let name = self.name;
        self.words.next().ok_or_else(|| format!("You must specify a path after a {name} command."))
    }

    fn two(&mut self) -> Result<(Vec<u8>, Vec<u8>), String> {
        let name = self.name;
        let text = || format!("You must specify two paths after a {name} command.");
        match (self.words.next(), self.words.next()) {
            (Some(a), Some(b)) => Ok((literal(&a), literal(&b))),
            _ => Err(text()),
        }
    }

    /// A path that is no pattern, if there is one.
    fn plain(&mut self) -> Option<Vec<u8>> {
        self.words.next().map(|word| literal(&word))
    }

    fn number(&mut self, octal: bool) -> Result<u32, String> {
        let name = self.name;
        let word = self.words.next();
        let text = word.as_deref().and_then(|w| std::str::from_utf8(w).ok());
        let number = text.and_then(|text| match (octal, text.strip_prefix("0x")) {
            (true, _) => u32::from_str_radix(text, 8).ok(),
            (false, Some(hex)) => u32::from_str_radix(hex, 16).ok(),
            (false, None) if text.len() > 1 && text.starts_with('0') => {
                u32::from_str_radix(text, 8).ok()
            }
            (false, None) => text.parse().ok(),
        });
        number.ok_or_else(|| format!("You must supply a numeric argument to the {name} command."))
    }
}

fn command(line: &[u8]) -> Result<Command, String> {
    if let Some(shell) = line.strip_prefix(b"!") {
        return Ok(Command::Shell(shell.to_vec()));
    }
    let mut words = cut(line)?.into_iter();
    let typed = words.next().unwrap_or_default();
    let known = COMMANDS.iter().find(|(name, ..)| name.as_bytes().eq_ignore_ascii_case(&typed));
    let (name, ..) = known.ok_or("Invalid command.")?;
    if *name == "lls" {
        let rest = line.get(typed.len()..).unwrap_or_default();
        return Ok(Command::Lls(rest.trim_ascii_start().to_vec()));
    }
    let mut args = arguments(name, words)?;
    Ok(match *name {
        "bye" | "exit" | "quit" => Command::Quit,
        "help" | "?" => Command::Help,
        "pwd" => Command::Pwd,
        "lpwd" => Command::Lpwd,
        "version" => Command::Version,
        "progress" => Command::Progress,
        "cd" | "chdir" => Command::Cd(args.plain()),
        "lcd" | "lchdir" => Command::Lcd(args.plain()),
        "ls" | "dir" => Command::Ls { how: ls(&args.flags), path: args.words.next() },
        "mkdir" => Command::Mkdir(literal(&args.one()?)),
        "lmkdir" => Command::Lmkdir(literal(&args.one()?)),
        "rm" => Command::Rm(args.one()?),
        "rmdir" => Command::Rmdir(literal(&args.one()?)),
        "df" => Command::Df { human: args.has(b'h'), inodes: args.has(b'i'), path: args.plain() },
        "lumask" => Command::Lumask(args.number(true)?),
        "get" | "mget" | "reget" | "put" | "mput" | "reput" => carry(&mut args)?,
        "chmod" => {
            let (of_link, mode) = (args.has(b'h'), args.number(true)?);
            Command::Chmod { mode, of_link, path: args.one()? }
        }
        "chown" => {
            let (of_link, user) = (args.has(b'h'), args.number(false)?);
            Command::Chown { user, of_link, path: args.one()? }
        }
        "chgrp" => {
            let (of_link, group) = (args.has(b'h'), args.number(false)?);
            Command::Chgrp { group, of_link, path: args.one()? }
        }
        _ => two_paths(&mut args)?,
    })
}

fn two_paths(args: &mut Arguments<'_>) -> Result<Command, String> {
    let (from, to) = args.two()?;
    Ok(match args.name {
        "rename" => Command::Rename { from, to, old_way: args.has(b'l') },
        "ln" if !args.has(b's') => Command::Link { from, to },
        "ln" | "symlink" => Command::Symlink { text: from, name: to },
        _ => Command::Copy { from, to },
    })
}

fn carry(args: &mut Arguments<'_>) -> Result<Command, String> {
    let name = args.name;
    let how = Carry {
        append: args.has(b'a') || name.starts_with("re"),
        fsync: args.has(b'f'),
        preserve: args.has(b'p') || args.has(b'P'),
        recursive: args.has(b'r') || args.has(b'R'),
    };
    let least = || format!("You must specify at least one path after a {name} command.");
    let from = args.words.next().ok_or_else(least)?;
    let to = args.plain();
    Ok(match name.ends_with("get") {
        true => Command::Get { from, to, how },
        false => Command::Put { from, to, how },
    })
}

/// The flags each command has; of several that exclude each other the last one counts.
fn arguments(
    name: &'static str,
    words: std::vec::IntoIter<Vec<u8>>,
) -> Result<Arguments<'static>, String> {
    let known: &[u8] = match name {
        "get" | "mget" | "put" | "mput" | "reget" | "reput" => b"afPpRr",
        "ls" | "dir" => b"1Safhlnrt",
        "df" => b"hi",
        "ln" => b"s",
        "rename" => b"l",
        "chmod" | "chown" | "chgrp" => b"h",
        _ => b"",
    };
    let shown = if name == "dir" { "ls" } else { name };
    let (mut flags, mut rest) = (Vec::new(), Vec::new());
    let mut words = words.peekable();
    while let Some(word) = words.next_if(|w| w.len() > 1 && w.starts_with(b"-")) {
        if word == b"--" {
            break;
        }
        for letter in word.get(1..).unwrap_or_default() {
            if !known.contains(letter) {
                return Err(format!("{shown}: Invalid flag -{}", char::from(*letter)));
            }
            flags.push(*letter);
        }
    }
    rest.extend(words);
    Ok(Arguments { name, flags, words: rest.into_iter() })
}

fn ls(flags: &[u8]) -> Ls {
    let mut how = Ls {
        long: false,
        single: false,
        numeric: false,
        human: false,
        all: false,
        reverse: false,
        sort: Sort::Name,
    };
    for flag in flags {
        match flag {
            b'1' => (how.single, how.long, how.numeric, how.human) = (true, false, false, false),
            b'l' => (how.single, how.long) = (false, true),
            b'n' => (how.single, how.long, how.numeric) = (false, true, true),
            b'h' => how.human = true,
            b'a' => how.all = true,
            b'r' => how.reverse = true,
            b'S' => how.sort = Sort::Size,
            b't' => how.sort = Sort::Time,
            _ => how.sort = Sort::Not,
        }
    }
    how
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(line: &str) -> Line {
        let (line, done) = read(line.as_bytes());
        done.unwrap();
        line
    }

    #[test]
    fn lines_and_what_they_mean() {
        let how = Carry { append: true, recursive: true, ..Carry::default() };
        for (line, want) in [
            (
                "get -R -a 'a b' x\\*",
                Command::Get { from: b"a b".to_vec(), to: Some(b"x*".to_vec()), how },
            ),
            ("reput -r a", Command::Put { from: b"a".to_vec(), to: None, how }),
            ("GET x\\*", Command::Get { from: br"x\*".to_vec(), to: None, how: Carry::default() }),
            ("cd", Command::Cd(None)),
            ("bye", Command::Quit),
            ("!ls -l 'x", Command::Shell(b"ls -l 'x".to_vec())),
            ("lls  -a 'b c'", Command::Lls(b"-a 'b c'".to_vec())),
            (
                "chmod -h 0755 a*",
                Command::Chmod { mode: 0o755, path: b"a*".to_vec(), of_link: true },
            ),
            ("chown 010 a", Command::Chown { user: 8, path: b"a".to_vec(), of_link: false }),
            ("ln -s a b", Command::Symlink { text: b"a".to_vec(), name: b"b".to_vec() }),
            ("cp a b", Command::Copy { from: b"a".to_vec(), to: b"b".to_vec() }),
            ("df -hi", Command::Df { path: None, human: true, inodes: true }),
        ] {
            assert_eq!(good(line).command, Some(want), "{line}");
        }
        let line = good("  -@rm x");
        assert!(line.forgiving && line.silent && line.command == Some(Command::Rm(b"x".to_vec())));
        for nothing in ["", "   ", "# x", "-"] {
            assert_eq!(good(nothing).command, None, "{nothing}");
        }
        let Some(Command::Ls { how, .. }) = good("ls -1lnatr x").command else { panic!() };
        assert!(how.long && how.numeric && how.all && how.reverse && !how.single);
        assert_eq!(how.sort, Sort::Time);
    }

    #[test]
    fn mistakes_are_told_in_sftps_words() {
        for (line, want) in [
            ("frobnicate", "Invalid command."),
            ("get", "You must specify at least one path after a get command."),
            ("rename a", "You must specify two paths after a rename command."),
            ("mkdir", "You must specify a path after a mkdir command."),
            ("chmod x y", "You must supply a numeric argument to the chmod command."),
            ("ls -z", "ls: Invalid flag -z"),
            ("get 'a", "Unterminated quoted argument"),
        ] {
            assert_eq!(read(line.as_bytes()).1.unwrap_err(), want, "{line}");
        }
        assert!(help().lines().count() > 30);
    }
}
