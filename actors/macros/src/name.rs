//! Names by which peers know messages and actors.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{
    LitStr,
    parse::{Parse, ParseStream},
};

/// The longest name in bytes: it travels in look-ups and errors, and a person reads it.
const LONGEST: usize = 128;

/// A checked name, which keeps the place where it was written.
pub(crate) struct Name(LitStr);

impl Name {
    pub(crate) fn value(&self) -> String {
        self.0.value()
    }

    /// The name that an item has in the program.
    pub(crate) fn of(ident: &proc_macro2::Ident) -> syn::Result<Self> {
        let name = ident.to_string();
        match fault(&name) {
            None => Ok(Name(LitStr::new(&name, ident.span()))),
            Some(fault) => Err(syn::Error::new(ident.span(), fault)),
        }
    }

    pub(crate) fn span(&self) -> proc_macro2::Span {
        self.0.span()
    }
}

impl Parse for Name {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let literal: LitStr = input.parse()?;
        match fault(&literal.value()) {
            None => Ok(Name(literal)),
            Some(fault) => Err(syn::Error::new(literal.span(), fault)),
        }
    }
}

impl ToTokens for Name {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.0.to_tokens(tokens);
    }
}

/// What is wrong with a name and what to do, or nothing.
fn fault(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("the name is empty: give one such as \"calc.Add\"".to_owned());
    }
    if name.len() > LONGEST {
        return Some(format!("the name has {} bytes: shorten it to at most {LONGEST}", name.len()));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if let Some(c) = name.chars().find(|&c| !allowed(c)) {
        return Some(format!(
            "a name cannot hold {c:?}: use letters, digits, `_`, `-` and `.` of ASCII only"
        ));
    }
    if name.starts_with('.') || name.ends_with('.') {
        return Some("a name neither starts nor ends with a dot: remove it".to_owned());
    }
    if name.contains("..") {
        return Some("two dots follow each other in the name: remove one, or write the missing part between them".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, fault};

    #[test]
    fn dotted_parts_are_names() {
        for name in
            ["a", "calc", "calc.Add", "org.build-farm.Job_done.2", "9", &"x".repeat(LONGEST)]
        {
            assert_eq!(fault(name), None, "{name}");
        }
    }

    #[test]
    fn the_empty_name_is_refused() {
        assert!(fault("").unwrap().contains("empty"));
    }

    #[test]
    fn a_long_name_is_refused_with_its_length() {
        assert!(fault(&"x".repeat(LONGEST + 1)).unwrap().contains("129 bytes"));
    }

    #[test]
    fn a_foreign_character_is_named() {
        for (name, shown) in [
            ("calc Add", "' '"),
            ("calc/Add", "'/'"),
            ("rechnen.Größe", "'ö'"),
            ("calc\0", "'\\0'"),
        ] {
            assert!(fault(name).unwrap().contains(shown), "{name}");
        }
    }

    #[test]
    fn an_empty_part_is_refused() {
        for name in [".", ".calc", "calc.", "calc..Add"] {
            assert!(fault(name).unwrap().contains("dot"), "{name}");
        }
    }
}
