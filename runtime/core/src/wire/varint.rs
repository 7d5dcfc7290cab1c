//! Unsigned LEB128, in its shortest form only.

use super::WireError;

/// The longest varint in bytes.
pub const MAX: usize = 10;

/// Appends a number, 7 bits a byte, least significant first.
#[inline]
pub fn put(n: u64, out: &mut Vec<u8>) {
    // What is short is most of it.
    if n < 0x80 {
        return out.push(n as u8);
    }
    put_long(n, out);
}

fn put_long(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push((n as u8) | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Writes a number to the start of `out` and returns how many bytes it took.
///
/// # Panics
/// If `out` has less than [`MAX`] bytes and the number needs more than there are.
pub(crate) fn write(mut n: u64, out: &mut [u8]) -> usize {
    let mut at = 0;
    while n >= 0x80 {
        out[at] = (n as u8) | 0x80;
        n >>= 7;
        at += 1;
    }
    out[at] = n as u8;
    at + 1
}

/// Reads a number and moves `bytes` behind it.
///
/// # Errors
/// [`WireError::Truncated`] when the bytes end inside it; [`WireError::Invalid`] when it is over 64 bits or not in its shortest
/// form (one number has one form, so that signed bytes have one meaning).
#[inline]
pub fn take(bytes: &mut &[u8]) -> Result<u64, WireError> {
    match **bytes {
        [byte @ ..0x80, ref rest @ ..] => {
            *bytes = rest;
            Ok(byte.into())
        }
        _ => take_long(bytes),
    }
}

fn take_long(bytes: &mut &[u8]) -> Result<u64, WireError> {
    let mut n = 0_u64;
    for at in 0..MAX {
        let &byte = bytes.get(at).ok_or(WireError::Truncated)?;
        let part = u64::from(byte & 0x7f);
        if at == MAX - 1 && byte > 1 {
            return Err(WireError::Invalid("a varint over 64 bits"));
        }
        n |= part << (7 * at);
        if byte & 0x80 == 0 {
            if byte == 0 && at > 0 {
                return Err(WireError::Invalid("a varint longer than needed"));
            }
            *bytes = &bytes[at + 1..];
            return Ok(n);
        }
    }
    Err(WireError::Invalid("a varint over 64 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_and_take_their_shortest_form() {
        for n in [0, 1, 127, 128, 300, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX]
        {
            let mut bytes = Vec::new();
            put(n, &mut bytes);
            let mut fixed = [0; MAX];
            assert_eq!(&fixed[..write(n, &mut fixed.clone())].len(), &bytes.len());
            let used = write(n, &mut fixed);
            assert_eq!(&fixed[..used], &bytes[..]);
            let mut rest = &bytes[..];
            assert_eq!(take(&mut rest), Ok(n));
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn long_forms_overflows_and_cut_ends_are_errors() {
        assert!(matches!(take(&mut &[0x80, 0][..]), Err(WireError::Invalid(_))));
        assert!(matches!(take(&mut &[0xff; 10][..]), Err(WireError::Invalid(_))));
        let mut over = [0x80_u8; 10];
        over[9] = 2;
        assert!(matches!(take(&mut &over[..]), Err(WireError::Invalid(_))));
        assert_eq!(take(&mut &[0x80][..]), Err(WireError::Truncated));
        assert_eq!(take(&mut &[][..]), Err(WireError::Truncated));
    }
}
