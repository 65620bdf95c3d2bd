//! Who listens on a port that was wanted: from `/proc`, as far as it shows.

use std::fs;

/// `sshd (pid 12)`. None: it cannot be seen, or there is no `/proc`.
pub(crate) fn of(port: u16) -> Option<String> {
    let inode = ["tcp", "tcp6"].into_iter().find_map(|table| {
        listener(&fs::read_to_string(format!("/proc/net/{table}")).ok()?, port)
    })?;
    let wanted = format!("socket:[{inode}]");
    let pids = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.bytes().all(|b| b.is_ascii_digit()).then_some(name)
    });
    let has = |pid: &String| {
        // Those of other users cannot be read.
        let all = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut links = all.filter_map(|fd| fs::read_link(fd.path()).ok());
        links.any(|link| link.as_os_str() == wanted.as_str())
    };
    let pid = pids.into_iter().find(has)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("{} (pid {pid})", name.trim()))
}

/// The inode of the socket that listens on a port, from a table of the kernel (proc(5)).
fn listener(table: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    table.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (_, at) = words.get(1)?.rsplit_once(':')?;
        let same = u16::from_str_radix(at, 16).ok()? == port && *words.get(3)? == LISTEN;
        same.then(|| words.get(9)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let owner = super::of(at.port()).unwrap();
        assert!(owner.ends_with(&format!("(pid {})", std::process::id())), "{owner}");
        drop(listener);
        assert_eq!(super::of(at.port()), None);
    }
}
