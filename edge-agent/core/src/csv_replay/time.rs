//! Times in files: a strftime format, with an offset in the text or in the local time of a zone.

use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;
use windlass_shared::time::EventTime;

/// How a time is written.
#[derive(Clone, Debug)]
pub struct TimeText {
    /// strftime, for example `%Y-%m-%d %H:%M:%S%:z`; `%s` is seconds since 1970.
    pub format: String,
    /// Where it is at home.
    pub zone: Zone,
}

/// What a written time is relative to.
#[derive(Clone, Debug)]
pub enum Zone {
    /// The text says (an offset, or seconds since 1970).
    InText,
    /// Local time.
    Local {
        /// Of this zone.
        zone: TimeZone,
        /// What a time that occurs twice or never means.
        rule: DstRule,
    },
}

/// What a local time means that occurs twice (clocks set back) or never (clocks set forward).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DstRule {
    /// The earlier of the two moments that it could be.
    Earlier,
    /// The later one.
    Later,
    /// The row is bad.
    Reject,
}

impl Zone {
    /// The local time of an IANA zone, for example `Europe/Berlin`. `None`: there is no such zone.
    pub fn local(name: &str, rule: DstRule) -> Option<Self> {
        let zone = TimeZone::get(name).ok()?;
        Some(Self::Local { zone, rule })
    }
}

impl TimeText {
    /// Is the format one that can be read? Otherwise what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        // a text that this format writes is one that it reads
        let moment = DateTime::constant(2024, 2, 3, 4, 5, 6, 0).to_zoned(TimeZone::UTC);
        let moment = moment.map_err(|e| e.to_string())?;
        let text = BrokenDownTime::from(&moment).to_string(&self.format);
        let text = text.map_err(|e| e.to_string())?;
        match self.read(&text)? {
            EventTime(_) => Ok(()),
        }
    }

    /// Reads a time.
    pub(super) fn read(&self, text: &str) -> Result<EventTime, String> {
        let expected = |e: &dyn std::fmt::Display| {
            format!("time `{text}`: {e}; expected the format `{}`", self.format)
        };
        let parsed = BrokenDownTime::parse(&self.format, text).map_err(|e| expected(&e))?;
        let timestamp = match &self.zone {
            Zone::InText => parsed.to_timestamp().map_err(|e| expected(&e))?,
            Zone::Local { zone, rule } => {
                let local = parsed.to_datetime().map_err(|e| expected(&e))?;
                let ambiguous = zone.to_ambiguous_timestamp(local);
                if *rule == DstRule::Reject && ambiguous.is_ambiguous() {
                    return Err(format!(
                        "time `{text}` occurs twice or never in {}: its clocks are changed then; expected a time with an offset, or dst = \"earlier\" or \"later\"",
                        zone.iana_name().unwrap_or("its zone")
                    ));
                }
                let moment = match rule {
                    DstRule::Earlier => ambiguous.earlier(),
                    DstRule::Later => ambiguous.later(),
                    DstRule::Reject => ambiguous.unambiguous(),
                };
                moment.map_err(|e| expected(&e))?
            }
        };
        Ok(EventTime(timestamp.as_microsecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &str, zone: Zone, text: &str) -> Result<i64, String> {
        let time = TimeText {
            format: format.into(),
            zone,
        };
        time.check()?;
        time.read(text).map(|t| t.0 / 1_000_000)
    }

    fn berlin(rule: DstRule) -> Zone {
        Zone::local("Europe/Berlin", rule).unwrap()
    }

    #[test]
    fn offsets_and_zones() {
        let offset = "%Y-%m-%d %H:%M:%S%:z";
        // date -u -d '2023-07-01 00:10:00' +%s
        assert_eq!(
            read(offset, Zone::InText, "2023-07-01 00:10:00+00:00"),
            Ok(1_688_170_200)
        );
        assert_eq!(
            read(offset, Zone::InText, "2023-07-01 02:10:00+02:00"),
            Ok(1_688_170_200)
        );
        let local = "%d.%m.%Y %H:%M";
        assert_eq!(
            read(local, berlin(DstRule::Reject), "01.07.2023 02:10"),
            Ok(1_688_170_200)
        );
        assert_eq!(read("%s", Zone::InText, "1688170200"), Ok(1_688_170_200));
        let fraction = read(
            "%Y-%m-%dT%H:%M:%S%.f",
            berlin(DstRule::Reject),
            "2023-07-01T02:10:00.5",
        );
        assert_eq!(fraction, Ok(1_688_170_200));
        let error = read(local, berlin(DstRule::Reject), "2023-07-01").unwrap_err();
        assert!(
            error.contains("expected the format `%d.%m.%Y %H:%M`"),
            "{error}"
        );
        assert!(Zone::local("Europe/Nowhere", DstRule::Later).is_none());
    }

    #[test]
    fn times_that_occur_twice_or_never() {
        let format = "%Y-%m-%d %H:%M:%S";
        let twice = "2023-10-29 02:30:00"; // 00:30 or 01:30 UTC
        assert_eq!(
            read(format, berlin(DstRule::Earlier), twice),
            Ok(1_698_539_400)
        );
        assert_eq!(
            read(format, berlin(DstRule::Later), twice),
            Ok(1_698_543_000)
        );
        assert!(read(format, berlin(DstRule::Reject), twice).is_err());
        let never = "2023-03-26 02:30:00"; // clocks went from 02:00 (01:00 UTC) to 03:00
        assert_eq!(
            read(format, berlin(DstRule::Earlier), never),
            Ok(1_679_790_600)
        );
        assert_eq!(
            read(format, berlin(DstRule::Later), never),
            Ok(1_679_794_200)
        );
        assert!(read(format, berlin(DstRule::Reject), never).is_err());
    }

    #[test]
    fn a_format_that_says_too_little_is_found_before_the_file() {
        assert!(read("%H:%M", Zone::InText, "1").is_err());
        assert!(read("%Y-%m-%d %H:%M", Zone::InText, "1").is_err()); // no offset
        assert!(read("%Y-%Q", berlin(DstRule::Later), "1").is_err());
    }
}
