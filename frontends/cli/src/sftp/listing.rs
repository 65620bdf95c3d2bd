//! What `ls` and `df` print, line for line as `sftp` does.

use super::Trouble;
use super::command::{Ls, Sort};
use super::paths::{self, Match};
use super::remote::{Remote, join, shown};
use super::session::Session;
use bssh_protocol::fs::{Attr, FsEntry, FsOwnersParams, FsSpace};
use bssh_protocol::methods::FsOwners;
use bssh_protocol::transfer::PathBytes;
use chrono::{Local, TimeZone};
use std::collections::{BTreeMap, BTreeSet};

/// Half a year: older and later times are shown with their year.
const RECENT: i64 = 365 * 24 * 60 * 60 / 2;
/// Columns where the terminal does not say.
const WIDTH: usize = 80;

/// One name with what is known about it.
struct Row {
    name: Vec<u8>,
    attr: Attr,
    /// The server's own line.
    long: Option<PathBytes>,
}

/// Names of users and groups by their numbers.
#[derive(Default)]
struct Owners {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
    /// The server tells names.
    told: bool,
}

/// `ls`
pub(super) async fn ls(session: &Session<'_>, word: Option<&[u8]>, how: Ls) -> Result<(), Trouble> {
    let remote = &session.remote;
    let strip = match word {
        Some([b'/', ..]) => None,
        _ => Some(remote.cwd.clone()),
    };
    let Some(word) = word else {
        return directory(remote, &remote.cwd, strip.as_deref(), how).await;
    };
    let mut matches = Vec::new();
    for word in paths::braces(word) {
        matches.extend(paths::remote(remote, &word).await?);
    }
    match matches.as_slice() {
        [] => {
            let path = shown(&remote.absolute(&super::line::literal(word)));
            Err(super::failed(&format!("Can't ls: \"{path}\" not found")))
        }
        [one] if one.is_dir => directory(remote, &one.marked(), strip.as_deref(), how).await,
        _ => several(remote, matches, strip.as_deref(), how).await,
    }
}

async fn directory(
    remote: &Remote<'_>,
    path: &[u8],
    strip: Option<&[u8]>,
    how: Ls,
) -> Result<(), Trouble> {
    let mut entries = remote.list(path).await?;
    if how.all {
        for name in [&b"."[..], b".."] {
            let attr = remote.lstat(&join(path, name)).await?.unwrap_or_default();
            let name = PathBytes(name.to_vec());
            entries.push(FsEntry { name, attr, long: None });
        }
    }
    entries.retain(|e| how.all || !e.name.0.starts_with(b"."));
    let longest = entries.iter().map(|e| e.name.0.len()).max().unwrap_or(0);
    let row = |e: FsEntry| Row { name: e.name.0, attr: e.attr, long: e.long };
    let mut rows: Vec<Row> = entries.into_iter().map(row).collect();
    sort(&mut rows, how);
    for row in &mut rows {
        row.name = stripped(&join(path, &row.name), strip);
    }
    let width = longest + stripped(path, strip).len();
    show(remote, rows, how, width).await
}

async fn several(
    remote: &Remote<'_>,
    matches: Vec<Match>,
    strip: Option<&[u8]>,
    how: Ls,
) -> Result<(), Trouble> {
    let mut rows = Vec::new();
    for one in matches {
        let mut attr = one.attr.clone().unwrap_or_default();
        if attr.r#type == "link" {
            attr = remote.stat(&one.path).await?.unwrap_or(attr);
        }
        rows.push(Row { name: one.marked(), attr, long: None });
    }
    sort(&mut rows, how);
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    for row in &mut rows {
        row.name = stripped(&row.name, strip);
    }
    show(remote, rows, how, width).await
}

fn sort(rows: &mut [Row], how: Ls) {
    match how.sort {
        Sort::Name => rows.sort_by(|a, b| a.name.cmp(&b.name)),
        Sort::Time => rows.sort_by_key(|row| std::cmp::Reverse(row.attr.mtime_ms)),
        Sort::Size => rows.sort_by_key(|row| std::cmp::Reverse(row.attr.size)),
        Sort::Not => return,
    }
    if how.reverse {
        rows.reverse();
    }
}

/// A path without the directory it begins with.
fn stripped(path: &[u8], strip: Option<&[u8]>) -> Vec<u8> {
    let rest = strip.and_then(|strip| path.strip_prefix(strip));
    rest.map_or(path, |rest| rest.strip_prefix(b"/").unwrap_or(rest)).to_vec()
}

async fn show(remote: &Remote<'_>, rows: Vec<Row>, how: Ls, longest: usize) -> Result<(), Trouble> {
    let mut text = Vec::new();
    if how.long {
        let owners = if how.numeric { Owners::default() } else { owners(remote, &rows).await? };
        for row in &rows {
            text.extend(line(row, &owners, how));
            text.push(b'\n');
        }
        return super::session::print(&text);
    }
    let width = bssh_term::size(rustix::stdio::stdin()).map_or(WIDTH, |s| s.cols as usize);
    let columns = if how.single { 1 } else { (width / (longest + 2)).max(1) };
    let space = if how.single { 0 } else { width / columns };
    let mut at = 0;
    for row in &rows {
        text.extend_from_slice(&row.name);
        text.extend(std::iter::repeat_n(b' ', space.saturating_sub(row.name.len())));
        at += 1;
        if at == columns {
            text.push(b'\n');
            at = 0;
        }
    }
    if at > 0 {
        text.push(b'\n');
    }
    super::session::print(&text)
}

async fn owners(remote: &Remote<'_>, rows: &[Row]) -> Result<Owners, Trouble> {
    let known = &remote.features.extensions;
    if !known.iter().any(|name| name == "users-groups-by-id@openssh.com") {
        return Ok(Owners::default());
    }
    let ids = |of: fn(&Attr) -> Option<u32>| {
        let ids: BTreeSet<u32> = rows.iter().filter_map(|row| of(&row.attr)).collect();
        ids.into_iter().collect::<Vec<_>>()
    };
    let params = FsOwnersParams {
        at: remote.at(b"."),
        users: ids(|attr| attr.uid),
        groups: ids(|attr| attr.gid),
    };
    let names = remote.ask::<FsOwners>(&params, || "users-groups-by-id".to_owned()).await?;
    let table = |ids: &[u32], names: Vec<PathBytes>| {
        let named = ids.iter().copied().zip(names).filter(|(_, name)| !name.0.is_empty());
        named.map(|(id, name)| (id, shown(&name.0))).collect()
    };
    let users = table(&params.users, names.users);
    Ok(Owners { users, groups: table(&params.groups, names.groups), told: true })
}

/// A line of `ls -l`.
fn line(row: &Row, owners: &Owners, how: Ls) -> Vec<u8> {
    if let (Some(long), false, false, false) = (&row.long, owners.told, how.numeric, how.human) {
        return long.0.clone();
    }
    let attr = &row.attr;
    let owner = |names: &BTreeMap<u32, String>, id: Option<u32>| {
        let id = id.unwrap_or(0);
        names.get(&id).cloned().unwrap_or_else(|| id.to_string())
    };
    let (user, group) = (owner(&owners.users, attr.uid), owner(&owners.groups, attr.gid));
    let size = attr.size.unwrap_or(0);
    let size = if how.human { scaled(size) } else { size.to_string() };
    let kind = row.long.as_ref().and_then(|long| long.0.first().copied());
    let mode = mode(attr, kind);
    let time = time(i64::try_from(attr.mtime_ms.unwrap_or(0) / 1000).unwrap_or(0));
    let text = format!("{mode}    ? {user:<8} {group:<8} {size:>8} {time} ");
    [text.as_bytes(), &row.name].concat()
}

/// `drwxr-xr-x`. `kind` is the server's letter, for what the protocol has no word for.
fn mode(attr: &Attr, kind: Option<u8>) -> String {
    let bits = attr.mode.unwrap_or(0);
    let kind = match attr.r#type.as_str() {
        "dir" => 'd',
        "link" => 'l',
        "file" => '-',
        _ => kind.filter(u8::is_ascii_graphic).map_or('?', char::from),
    };
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let (r, w, x) = (bits >> shift & 4 != 0, bits >> shift & 2 != 0, bits >> shift & 1 != 0);
        text.push(if r { 'r' } else { '-' });
        text.push(if w { 'w' } else { '-' });
        text.push(match (x, bits & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

fn time(seconds: i64) -> String {
    let now = Local::now().timestamp();
    let recent = (now - RECENT..=now).contains(&seconds) && now - RECENT < seconds;
    let format = if recent { "%b %e %H:%M" } else { "%b %e  %Y" };
    let time = Local.timestamp_opt(seconds, 0).single();
    time.map(|time| time.format(format).to_string()).unwrap_or_default()
}

/// A size in three digits and a unit.
fn scaled(number: u64) -> String {
    const UNITS: &[u8] = b"BKMGTPE";
    let mut unit = 0;
    let (mut whole, mut rest) = (number, 0);
    while whole >= 1024 && unit + 1 < UNITS.len() {
        (rest, whole, unit) = (whole % 1024, whole / 1024, unit + 1);
    }
    let mut tenth = (rest * 10 + 512) / 1024;
    if tenth >= 10 {
        (whole, tenth) = (whole + 1, 0);
    }
    let letter = char::from(UNITS.get(unit).copied().unwrap_or(b'?'));
    match (whole, unit) {
        (0, _) => "0B".to_owned(),
        (whole, 0) => format!("{whole}{letter}"),
        (100.., _) => format!("{}{letter}", whole + u64::from(tenth >= 5)),
        _ => format!("{whole}.{tenth}{letter}"),
    }
}

/// What `df` prints.
pub(super) fn df(space: &FsSpace, human: bool, inodes: bool) -> String {
    let share = |total: u64, free: u64| match total {
        0 => "ERR".to_owned(),
        // Wide: a hostile server's numbers must not overflow.
        _ => format!("{:3}%", 100 * u128::from(total.saturating_sub(free)) / u128::from(total)),
    };
    let used = space.total.saturating_sub(space.free);
    let capacity = share(space.total, space.free);
    if inodes {
        let (all, free) = (space.inodes, space.inodes_free);
        return format!(
            "     Inodes        Used       Avail      (root)    %Capacity\n\
             {all:>11} {:>11} {free:>11} {free:>11}         {}\n",
            all.saturating_sub(free),
            share(all, free)
        );
    }
    if human {
        let [total, used, available, free] =
            [space.total, used, space.available, space.free].map(scaled);
        return format!(
            "    Size     Used    Avail   (root)    %Capacity\n\
             {total:>7}B {used:>7}B {available:>7}B {free:>7}B         {capacity}\n"
        );
    }
    let [total, used, available, free] =
        [space.total, used, space.available, space.free].map(|bytes| bytes / 1024);
    format!(
        "        Size         Used        Avail       (root)    %Capacity\n\
         {total:>12} {used:>12} {available:>12} {free:>12}         {capacity}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_modes() {
        for (n, want) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.0K"),
            (1536, "1.5K"),
            (102_400, "100K"),
            (1 << 30, "1.0G"),
            (1_048_000, "1023K"),
        ] {
            assert_eq!(scaled(n), want, "{n}");
        }
        let attr = |kind: &str, mode| Attr {
            r#type: kind.to_owned(),
            mode: Some(mode),
            ..Attr::default()
        };
        assert_eq!(mode(&attr("dir", 0o1777), None), "drwxrwxrwt");
        assert_eq!(mode(&attr("file", 0o4644), None), "-rwSr--r--");
        assert_eq!(mode(&attr("special", 0o600), Some(b'p')), "prw-------");
    }

    #[test]
    fn paths_are_shown_without_the_working_directory() {
        assert_eq!(stripped(b"/a/b/c", Some(b"/a")), b"b/c");
        assert_eq!(stripped(b"/x", Some(b"/")), b"x");
        assert_eq!(stripped(b"/a", Some(b"/a")), b"");
        assert_eq!(stripped(b"/a/b", None), b"/a/b");
    }
}
