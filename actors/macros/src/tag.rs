//! The 64-bit tag under which a message travels.

/// The first 8 bytes, as little endian, of BLAKE3 over the name, a zero byte and the version in decimal. No name holds a zero byte,
/// so two pairs of name and version never give the same input.
pub(crate) fn of(name: &str, version: u32) -> u64 {
    let hash = blake3::hash(format!("{name}\0{version}").as_bytes());
    let (head, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
    u64::from_le_bytes(*head)
}

#[cfg(test)]
mod tests {
    use super::of;

    /// Peers of other releases compute the same: a change here is a change of the wire.
    #[test]
    fn golden_tags_stay() {
        assert_eq!(of("calc.Add", 1), 0xf2ff_65df_aa7c_16d5);
        assert_eq!(of("calc.Add", 2), 0x43bd_98db_40df_2828);
    }

    #[test]
    fn name_and_version_both_count() {
        assert_ne!(of("calc.Add", 1), of("calc.Add", 2));
        assert_ne!(of("calc.Add", 1), of("calc.Sub", 1));
        assert_ne!(of("calc.Add1", 1), of("calc.Add", 11));
    }
}
