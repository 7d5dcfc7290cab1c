//! What an author's mistake with the macros looks like. Each case in `ui/` has one mistake, and its error beside it.

/// Rewrite the expected errors with `TRYBUILD=overwrite` after reading them as an author would.
#[test]
fn compile_fail() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}

/// A receiver is moved into its select, so that none is added twice, and no select into itself.
#[test]
fn m14_what_is_added_twice_or_into_itself_is_refused() {
    trybuild::TestCases::new().compile_fail("tests/ui/select/*.rs");
}
