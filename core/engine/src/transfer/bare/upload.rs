//! Files to a node without a file server: directories by `mkdir`, each file by `cat` of its own.

use super::{Bare, path};
use crate::transfer::crowd::Crowd;
use crate::transfer::fault::Fault;
use crate::transfer::send::split;
use crate::transfer::tree::{Item, Tree, What, join};
use crate::transfer::upload::place;
use crate::word::quoted;
use bssh_ssh::sftp::FileKind;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Commands at once: servers allow ten sessions.
const AT_ONCE: usize = 6;
/// Bytes of one script; the system's limit for an argument is 128 KiB.
const SCRIPT: usize = 32 * 1024;
/// Bytes read from the disk at once.
const BLOCK: usize = 128 * 1024;

/// A path, and the command for it.
type Line = (Vec<u8>, Vec<u8>);
/// The command for an item with its target, if it needs one.
type LineOf<'a> = dyn Fn(&Item, &[u8]) -> Option<Vec<u8>> + 'a;

/// `m MODE`: a mode as a file of that mode would get it here.
const MASKED: &[u8] = b"u=$(umask); m() { printf %o $((0$1 & ~0$u)); }; ";

pub(super) async fn upload(bare: &Bare) -> Result<(), Fault> {
    let tree = bare.run.tree(&bare.name, None).await?;
    bare.count.total_files.store(tree.files, Relaxed);
    bare.count.total_bytes.store(tree.bytes, Relaxed);
    bare.count.add(&bare.count.skipped, tree.skipped);
    for (path, fault) in &tree.faults {
        bare.count.fault(path, fault);
    }
    let wanted = bare.options.to_for(&bare.name);
    let places = async {
        let to = path(&wanted)?;
        place(&tree, &to, there(bare, &to).await?)
    };
    let places = match places.await {
        Ok(places) => places,
        Err(fault) => return bare.noted(&wanted, Err(fault)),
    };
    let target = |item: &Item| {
        let place = places.get(item.root).map(Vec::as_slice).unwrap_or_default();
        join(place.strip_suffix(b"/").filter(|p| !p.is_empty()).unwrap_or(place), &item.inner)
    };
    let lines = |line: &LineOf<'_>| -> Vec<Line> {
        let of = |item: &Item| {
            let target = target(item);
            line(item, &target).map(|line| (target, line))
        };
        tree.items.iter().filter_map(of).collect()
    };
    let make = b"d() { [ -d \"$1\" ] && return; mkdir \"$1\" && chmod $(m $2) \"$1\"; }; ";
    let made = lines(&|item, target| {
        let mode = format!(" {:o}", item.mode | 0o700);
        (item.what == What::Dir).then(|| [b"d ", &quoted(target)[..], mode.as_bytes()].concat())
    });
    script(bare, &[MASKED, make].concat(), &made).await?;
    bare.count.add(&bare.count.dirs, made.len() as u64);
    send_files(bare, &tree, &target).await?;
    let link = b"l() { [ -d \"$2\" ] && [ ! -L \"$2\" ] && return 21; rm -f \"$2\"; ln -s -- \"$1\" \"$2\"; }; ";
    let linked = lines(&|item, target| match &item.what {
        What::Link(text) => Some([b"l ", &quoted(text)[..], b" ", &quoted(target)].concat()),
        _ => None,
    });
    script(bare, link, &linked).await?;
    bare.count.add(&bare.count.links, linked.len() as u64);
    let preserve = bare.options.preserve;
    let mut settled = lines(&|item, target| {
        let closed = item.mode & 0o700 != 0o700;
        (item.what == What::Dir && (preserve || closed)).then(|| settle(item, target, preserve))
    });
    settled.reverse();
    script(bare, b"", &settled).await
}

/// What is at a path.
async fn there(bare: &Bare, path: &[u8]) -> Result<Option<FileKind>, Fault> {
    let script = b"if [ -d \"$p\" ]; then echo d; elif [ -e \"$p\" ]; then echo f; fi";
    let ended = bare.run(&[b"p=", &quoted(path)[..], b"; ", script].concat()).await?;
    match (ended.status, ended.out.first()) {
        (0, Some(b'd')) => Ok(Some(FileKind::Dir)),
        (0, Some(_)) => Ok(Some(FileKind::File)),
        (0, None) => Ok(None),
        _ => Err(ended.fault()),
    }
}

fn settle(item: &Item, target: &[u8], times: bool) -> Vec<u8> {
    let target = quoted(target);
    let mut line = [format!("chmod {:o} ", item.mode).as_bytes(), &target].concat();
    if times {
        for (what, seconds) in [("-a", item.times.0), ("-m", item.times.1)] {
            let touch = format!(" && TZ=UTC0 touch {what} -t {} ", stamp(seconds));
            line.extend([touch.as_bytes(), &target].concat());
        }
    }
    line
}

/// A time as `touch -t` takes it: `CCYYMMDDhhmm.SS`, in UTC.
fn stamp(seconds: u32) -> String {
    let (days, rest) = (i64::from(seconds / 86_400), seconds % 86_400);
    // Days since 0000-03-01, in eras of 400 years (Howard Hinnant's civil_from_days).
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let date = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}{month:02}{date:02}{hour:02}{minute:02}.{second:02}")
}

/// Runs lines, many at a time; each that fails is a fault of its path.
async fn script(bare: &Bare, head: &[u8], lines: &[Line]) -> Result<(), Fault> {
    let mut from = 0;
    while from < lines.len() {
        let (mut text, mut to) = (head.to_vec(), from);
        while let Some((_, line)) = lines.get(to)
            && (to == from || text.len() + line.len() < SCRIPT)
        {
            // The number of the line, and what it said, if it failed.
            let number = (to - from).to_string();
            text.extend([b"e=$( { ", &line[..], b"; } 2>&1 ) || echo \""].concat());
            text.extend([number.as_bytes(), b" $? $e\" | head -n 1\n"].concat());
            to += 1;
        }
        let ended = bare.run(&text).await?;
        if ended.status != 0 && ended.out.is_empty() && !ended.err.is_empty() {
            return Err(ended.fault());
        }
        for line in String::from_utf8_lossy(&ended.out).lines() {
            let mut words = line.splitn(3, ' ');
            let at = words.next().and_then(|w| w.parse::<usize>().ok());
            let status = words.next().and_then(|w| w.parse().ok()).unwrap_or(1);
            let err = words.next().unwrap_or_default().as_bytes().to_vec();
            let ended = super::shell::Ended { status, err, ..Default::default() };
            if let Some((path, _)) = at.and_then(|at| lines.get(from + at)) {
                bare.count.fault(path, &ended.fault());
            }
        }
        from = to;
    }
    Ok(())
}

async fn send_files(
    bare: &Bare,
    tree: &Arc<Tree>,
    target: &impl Fn(&Item) -> Vec<u8>,
) -> Result<(), Fault> {
    let mut crowd = Crowd::new(AT_ONCE);
    for item in tree.items.iter().filter(|item| item.what == What::File) {
        let target = target(item);
        crowd
            .add(async move {
                let sent = send(bare, item, &target).await;
                bare.noted(&target, sent)
            })
            .await?;
    }
    crowd.finish().await
}

async fn send(bare: &Bare, item: &Item, target: &[u8]) -> Result<(), Fault> {
    let source = item.path.clone();
    let mut file = bare.disk.run(move || Ok(File::open(source)?)).await?;
    let part = join(split(target).0, &bare.temporary_name());
    let preserve = bare.options.preserve;
    let mode = format!("{:o}", item.mode);
    let moded = match preserve {
        true => settle(item, &part, true),
        // One that is there keeps its mode.
        false => b"chmod \"${o:-$(m $w)}\" \"$t\"".to_vec(),
    };
    let script = [
        b"f=",
        &quoted(target)[..],
        b"; t=",
        &quoted(&part),
        b"; w=",
        mode.as_bytes(),
        b"; ",
        MASKED,
        b"[ -d \"$f\" ] && exit 21; o=; \
          [ -e \"$f\" ] && o=$(stat -c %a \"$f\" 2>/dev/null || stat -f %Lp \"$f\"); \
          trap 'rm -f \"$t\"' EXIT; trap 'exit 1' HUP INT TERM PIPE; \
          (umask 077; cat > \"$t\") || exit 1; \
          [ \"$(wc -c < \"$t\")\" -eq ",
        item.size.to_string().as_bytes(),
        b" ] || exit 22; ",
        &moded,
        b" || exit 1; mv -f \"$t\" \"$f\"",
    ]
    .concat();
    let channel = bare.start(&script).await?;
    let writer = channel.writer();
    let sending = async {
        let mut left = item.size;
        while left > 0 {
            let wanted = BLOCK.min(usize::try_from(left).unwrap_or(BLOCK));
            let (read, back) = bare
                .disk
                .run(move || {
                    let mut block = vec![0; wanted];
                    let n = file.read(&mut block)?;
                    block.truncate(n);
                    Ok((block, file))
                })
                .await?;
            file = back;
            let n = read.len() as u64;
            if n == 0 || writer.write(read.into()).await.is_err() {
                break;
            }
            bare.count.add(&bare.count.bytes, n);
            left -= n;
        }
        // The command's end says what became of it.
        let _ = writer.eof().await;
        Ok::<_, Fault>(())
    };
    let (sent, ended) = futures_util::future::join(sending, bare.end(channel)).await;
    sent?;
    let ended = ended?;
    if ended.status != 0 {
        return Err(ended.fault());
    }
    bare.count.add(&bare.count.files, 1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_touch_takes_them() {
        for (seconds, want) in [
            (0, "197001010000.00"),
            (951_782_399, "200002282359.59"),
            (951_782_400, "200002290000.00"),
            (1_234_567_890, "200902132331.30"),
            (u32::MAX, "210602070628.15"),
        ] {
            assert_eq!(stamp(seconds), want);
        }
    }
}
