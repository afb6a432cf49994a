//! Parses the literals of timestamps and durations, in nanoseconds.

use jiff::Timestamp;

const TIMESTAMP: &str = r#"write it in RFC 3339 with an offset, as in "2026-01-01T00:00:00Z""#;
const DURATION: &str = r#"write numbers with the units h, m, s, ms, us or ns, as in "1h30m""#;
const DAYS: &str = "days differ in length; write hours, as in 24h for a day and 168h for a week";
const TOO_LONG: &str = "use less than 10,000 years";

/// Maximum duration: 10,000 years, as in CEL.
const MAX_DURATION: i128 = 315_576_000_000 * SECOND;
const SECOND: i128 = 1_000_000_000;

/// Parses a timestamp; the error describes the correct form.
pub(super) fn parse_timestamp(text: &str) -> Result<i128, &'static str> {
    let is_rfc_3339 = text.len() >= "2026-01-01T00:00:00Z".len()
        && text.as_bytes().get(10) == Some(&b'T')
        && text.as_bytes().get(16) == Some(&b':')
        && !text.contains('[');
    let timestamp: Timestamp = text.parse().ok().filter(|_| is_rfc_3339).ok_or(TIMESTAMP)?;
    Ok(timestamp.as_nanosecond())
}

/// Parses a duration; the error describes the correct form.
pub(super) fn parse_duration(text: &str) -> Result<i128, &'static str> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(DURATION);
    }
    let mut sum = 0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').and_then(|end| rest.split_at_checked(end));
        let (number, after) = number.ok_or(DURATION)?;
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').and_then(|end| after.split_at_checked(end));
        let (unit, after) = unit.unwrap_or((after, ""));
        sum += parse_part(number, unit)?;
        if sum > MAX_DURATION {
            return Err(TOO_LONG);
        }
        rest = after;
    }
    Ok(sign * sum)
}

/// Parses one number and its unit.
fn parse_part(number: &str, unit: &str) -> Result<i128, &'static str> {
    let unit = nanoseconds(unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return Err(DURATION);
    }
    let digits = |text: &str| if text.is_empty() { Ok(0) } else { text.parse::<i128>() };
    let whole = digits(whole).ok().and_then(|whole| whole.checked_mul(unit)).ok_or(TOO_LONG)?;
    if whole > MAX_DURATION {
        return Err(TOO_LONG);
    }
    // An hour in nanoseconds has 13 digits, so further digits make no difference.
    let fraction = fraction.get(..13).unwrap_or(fraction);
    let scale = fraction.bytes().fold(1, |scale: i128, _| scale * 10);
    let fraction = digits(fraction).map_err(|_| DURATION)? * unit / scale;
    Ok(whole.saturating_add(fraction))
}

fn nanoseconds(unit: &str) -> Result<i128, &'static str> {
    match unit {
        "h" => Ok(3_600 * SECOND),
        "m" => Ok(60 * SECOND),
        "s" => Ok(SECOND),
        "ms" => Ok(1_000_000),
        "us" | "µs" | "μs" => Ok(1_000),
        "ns" => Ok(1),
        "d" | "w" | "y" => Err(DAYS),
        _ => Err(DURATION),
    }
}
