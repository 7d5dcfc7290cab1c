//! What an author's mistake with the macros looks like. Each case in `ui/` has one mistake, and its error beside it.

/// Rewrite the expected errors with `TRYBUILD=overwrite` after reading them as an author would.
#[test]
fn compile_fail() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
