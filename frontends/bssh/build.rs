//! Links GCC's unwinder into the executable where that is at hand: one shared library less to
//! find, map and bind at each start, of which a command has two.

use std::path::Path;
use std::process::Command;

const UNWINDER: &str = "libgcc_eh.a";

#[allow(clippy::disallowed_methods, reason = "cargo speaks to a build script through variables")]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CC");
    let var = |name| std::env::var(name).unwrap_or_default();
    let native = var("HOST") == var("TARGET");
    if !native || var("CARGO_CFG_TARGET_OS") != "linux" || var("CARGO_CFG_TARGET_ENV") != "gnu" {
        return;
    }
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let asked = Command::new(compiler).arg(format!("-print-file-name={UNWINDER}")).output();
    let answer = asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    // Its bare name means that there is none.
    if let Some(place) = answer.ok().as_deref().map(Path::new).filter(|path| path.is_absolute())
        && let Some(directory) = place.parent()
    {
        println!("cargo::rustc-link-search=native={}", directory.display());
        println!("cargo::rustc-link-lib=static:+verbatim={UNWINDER}");
    }
}
