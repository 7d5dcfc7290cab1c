//! Which trace a message belongs to, as the W3C recommendation *Trace Context* (level 1) has it, and the header that it writes down
//! there, `traceparent`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Bits of the flags that mean something: `sampled`, and `random` of level 2. Others must not go on (section 3.3.3.3 there).
const MEANT: u8 = 0b11;

/// The flag that says that the caller may have recorded.
const SAMPLED: u8 = 1;

/// Bytes of a `traceparent` of version 0.
const LENGTH: usize = 55;

/// A span: what sent a message, or handles one.
///
/// One that came from elsewhere may have ids of zeroes, which name nothing: [`Self::is_valid`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TraceContext {
    /// 16 bytes of trace id: of the whole request, over all contexts.
    pub trace_id: [u8; 16],
    /// 8 bytes of span id: of the one step.
    pub span_id: [u8; 8],
    /// The trace flags.
    pub flags: u8,
}

/// A text that is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no traceparent: it is {0}")]
pub struct TraceparentError(&'static str);

impl TraceContext {
    /// Whether both ids name something. One that does not must be taken for none.
    pub fn is_valid(&self) -> bool {
        self.trace_id != [0; 16] && self.span_id != [0; 8]
    }

    /// The trace id as it is written: 32 digits.
    pub fn trace_id_text(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.trace_id))
    }

    /// The span id as it is written: 16 digits.
    pub fn span_id_text(&self) -> String {
        format!("{:016x}", u64::from_be_bytes(self.span_id))
    }

    /// Whether whoever began the trace may have recorded it.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Another step of the same trace; flags that nobody has given a meaning yet are left out.
    #[must_use]
    pub fn step(&self, span_id: [u8; 8]) -> Self {
        Self { trace_id: self.trace_id, span_id, flags: self.flags & MEANT }
    }
}

/// As a `traceparent` of version 0.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id_text(), self.span_id_text(), self.flags)
    }
}

/// From a `traceparent` of any version: of a later one what version 0 has.
impl FromStr for TraceContext {
    type Err = TraceparentError;

    fn from_str(text: &str) -> Result<Self, TraceparentError> {
        let bytes = text.as_bytes();
        let Some((known, more)) = bytes.split_at_checked(LENGTH) else {
            return Err(TraceparentError("shorter than 55 characters"));
        };
        if [known[2], known[35], known[52]] != [b'-'; 3] {
            return Err(TraceparentError("not of four parts with a dash between them"));
        }
        let [version] = hex(&known[..2])?;
        match version {
            0xff => return Err(TraceparentError("of the version ff, which is none")),
            0 if !more.is_empty() => {
                return Err(TraceparentError("longer than its version 00 allows"));
            }
            _ if more.first().is_some_and(|next| *next != b'-') => {
                return Err(TraceparentError("not of parts with a dash between them"));
            }
            _ => {}
        }
        let [flags] = hex(&known[53..])?;
        let read = Self {
            trace_id: hex(&known[3..35])?,
            span_id: hex(&known[36..52])?,
            flags: flags & MEANT,
        };
        if read.is_valid() { Ok(read) } else { Err(TraceparentError("with an id of zeroes")) }
    }
}

/// Bytes from twice as many lower-case hexadecimal digits.
fn hex<const N: usize>(digits: &[u8]) -> Result<[u8; N], TraceparentError> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(TraceparentError("not of lower-case hexadecimal digits")),
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the recommendation.
    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn refusal(text: &str) -> String {
        text.parse::<TraceContext>().unwrap_err().to_string()
    }

    #[test]
    fn a_traceparent_survives_as_text() {
        let read: TraceContext = TEXT.parse().unwrap();
        assert_eq!(read.trace_id[..2], [0x4b, 0xf9]);
        assert_eq!(read.span_id, [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
        assert!(read.is_sampled() && read.is_valid());
        assert_eq!(read.to_string(), TEXT);
    }

    #[test]
    fn of_a_later_version_what_is_known_is_taken() {
        let expected = TEXT.parse::<TraceContext>();
        for later in [TEXT.replacen("00", "01", 1), TEXT.replacen("00", "fe", 1) + "-what-will-be"]
        {
            assert_eq!(later.parse(), expected, "{later}");
        }
        let unheard_of: TraceContext = TEXT.replace("-01", "-fd").parse().unwrap();
        assert_eq!(unheard_of.flags, 1, "flags without a meaning do not go on");
    }

    #[test]
    fn what_is_no_traceparent_says_why() {
        for (text, why) in [
            (String::new(), "shorter"),
            (TEXT[..54].to_owned(), "shorter"),
            (format!("{TEXT}-00"), "longer"),
            (TEXT.replacen("00", "ff", 1), "version ff"),
            (TEXT.replacen("00", "01", 1) + "x", "a dash"),
            (TEXT.replacen('-', "_", 1), "a dash"),
            (TEXT.to_uppercase(), "lower-case"),
            (TEXT.replace("4bf9", "4bg9"), "lower-case"),
            (TEXT.replace("00f067aa0ba902b7", "0000000000000000"), "zeroes"),
            (TEXT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)), "zeroes"),
            (TEXT.replace("4bf9", "éé"), "lower-case"),
        ] {
            assert!(refusal(&text).contains(why), "{text}: {}", refusal(&text));
        }
    }

    #[test]
    fn a_step_stays_in_its_trace() {
        let whole: TraceContext = TEXT.parse().unwrap();
        let step = TraceContext { flags: 0xff, ..whole }.step([7; 8]);
        assert_eq!((step.trace_id, step.span_id, step.flags), (whole.trace_id, [7; 8], 3));
        assert!(!TraceContext { span_id: [0; 8], ..whole }.is_valid());
        assert!(!TraceContext { trace_id: [0; 16], ..whole }.is_valid());
    }
}
