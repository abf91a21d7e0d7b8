//! Civil dates and times of files, UTC (Howard Hinnant's algorithms): the rig reads and writes them on its own, so that
//! it does not believe the product's parser.

const DAY_S: i64 = 86_400;

/// `2026-11-20 13:10:00` from microseconds since 1970.
pub fn text(us: i64) -> String {
    let seconds = us.div_euclid(1_000_000);
    let (days, second) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S));
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

/// Microseconds since 1970 from `2026-11-20 13:10:00`; what stands behind the seconds is not looked at.
pub fn parse(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let second = number(11..13)? * 3_600 + number(14..16)? * 60 + number(17..19)?;
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let mp = (month + 9) % 12;
    let doy = (153 * mp + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    let days = era * 146_097 + doe - 719_468;
    Some((days * DAY_S + second) * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::{parse, text};

    #[test]
    fn times_are_read_and_written_as_calendars_do() {
        for (us, written) in [
            (0, "1970-01-01 00:00:00"),
            (1_709_210_096_000_000, "2024-02-29 12:34:56"),
            (1_767_225_599_000_000, "2025-12-31 23:59:59"),
        ] {
            assert_eq!(text(us), written);
            assert_eq!(parse(written), Some(us));
        }
        assert_eq!(
            parse("2024-02-29 12:34:56+00:00"),
            Some(1_709_210_096_000_000)
        );
        assert_eq!(parse("soon"), None);
    }
}
