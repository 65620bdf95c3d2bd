//! Amounts of bytes, for people.

/// `512 B`, `1.5 MiB`.
pub fn bytes_text(bytes: u64) -> String {
    let mut unit = 1024_u128;
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    for name in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if u128::from(bytes) < unit * 1024 {
            return tenths(bytes, unit, name);
        }
        unit *= 1024;
    }
    tenths(bytes, unit, "EiB")
}

fn tenths(bytes: u64, unit: u128, name: &str) -> String {
    let tenths = u128::from(bytes) * 10 / unit;
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// Bytes a second.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "for people"
)]
pub fn rate(bytes: u64, seconds: f64) -> u64 {
    if seconds > 0.0 { (bytes as f64 / seconds) as u64 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        for (bytes, want) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10 << 20, "10.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(bytes_text(bytes), want);
        }
    }
}
