//! What the macros' attributes share: reading keys, the facade's path, and the place that an error points to.

use std::collections::HashSet;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{
    Attribute, Data, DeriveInput, Field, Fields, LitInt, LitStr, Path, Token, Type,
    meta::ParseNestedMeta, parenthesized, punctuated::Punctuated, token,
};

/// The path of the crate whose items the expansions name.
#[derive(Default)]
pub(crate) struct Facade(Option<Path>);

impl Facade {
    /// The key that sets it.
    pub(crate) const KEY: &str = "crate";

    /// Reads `crate = path`.
    pub(crate) fn read(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        once(&mut self.0, meta, Path::parse_mod_style(meta.value()?)?)
    }

    /// The path, so that an error in what follows it points to what the author wrote there.
    pub(crate) fn at(&self, place: Span) -> TokenStream {
        let relocate = |mut token: TokenTree| {
            token.set_span(token.span().located_at(place));
            token
        };
        self.to_token_stream().into_iter().map(relocate).collect()
    }
}

impl ToTokens for Facade {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match &self.0 {
            Some(path) => path.to_tokens(tokens),
            None => tokens.extend(quote!(::actogen)),
        }
    }
}

/// Calls `read` with each key of each `#[remote(...)]`, or of another attribute, of a type. On a field or a variant it means nothing and
/// is refused.
pub(crate) fn each_key(
    input: &DeriveInput,
    name: &str,
    mut read: impl FnMut(&str, ParseNestedMeta<'_>) -> syn::Result<()>,
) -> syn::Result<()> {
    refuse_inside(&input.data, name)?;
    for attribute in named(&input.attrs, name) {
        attribute.parse_nested_meta(|meta| read(&key(&meta), meta))?;
    }
    Ok(())
}

/// A key as it was written.
pub(crate) fn key(meta: &ParseNestedMeta<'_>) -> String {
    meta.path.to_token_stream().to_string()
}

/// Fills a slot, unless the key was given before.
pub(crate) fn once<T>(
    slot: &mut Option<T>,
    meta: &ParseNestedMeta<'_>,
    value: T,
) -> syn::Result<()> {
    if slot.is_some() {
        return Err(meta.error(format!("`{}` is given twice: remove one", key(meta))));
    }
    *slot = Some(value);
    Ok(())
}

/// A version as it was written.
pub(crate) fn version(literal: &LitInt) -> syn::Result<u32> {
    match literal.base10_parse() {
        Ok(version @ 1..) => Ok(version),
        _ => Err(syn::Error::new(
            literal.span(),
            "versions count from 1 to 4294967295: write `version = 1` or more",
        )),
    }
}

/// The error for a key that none of the macro's keys is.
pub(crate) fn unknown(meta: &ParseNestedMeta<'_>, known: &[&str]) -> syn::Error {
    let known: Vec<_> = known.iter().map(|key| format!("`{key}`")).collect();
    meta.error(format!("unknown key `{}`: the keys are {}", key(meta), known.join(", ")))
}

/// The types of a list in parentheses.
pub(crate) fn types(meta: &ParseNestedMeta<'_>) -> syn::Result<Vec<Type>> {
    if !meta.input.peek(token::Paren) {
        let key = key(meta);
        return Err(meta.error(format!(
            "`{key}` is a list of types in parentheses, such as `{key}(Add, Sub)`"
        )));
    }
    let content;
    parenthesized!(content in meta.input);
    Ok(Punctuated::<Type, Token![,]>::parse_terminated(&content)?.into_iter().collect())
}

/// The first of some types that stands among them before, as it was written.
pub(crate) fn twice<'a>(types: impl IntoIterator<Item = &'a Type>) -> Option<(&'a Type, String)> {
    let mut seen = HashSet::new();
    let written = types.into_iter().map(|one| (one, one.to_token_stream().to_string()));
    written.into_iter().find(|(_, text)| !seen.insert(text.clone()))
}

/// The variant of `Codec` that a codec's name means.
pub(crate) fn codec(meta: &ParseNestedMeta<'_>) -> syn::Result<Ident> {
    word(meta, "codec", &[("postcard", "Postcard"), ("json", "Json"), ("cbor", "Cbor")])
}

/// One of some words in quotes, as the variant that it means.
pub(crate) fn word(
    meta: &ParseNestedMeta<'_>,
    what: &str,
    words: &[(&str, &str)],
) -> syn::Result<Ident> {
    let literal: LitStr = meta.value()?.parse()?;
    let written = literal.value();
    match words.iter().find(|(word, _)| *word == written) {
        Some((_, variant)) => Ok(Ident::new(variant, at(literal.span()))),
        None => {
            let known: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            let (last, others) = known.split_last().map_or(("", &[][..]), |(l, o)| (l.as_str(), o));
            let text = format!("unknown {what} {written:?}: write {} or {last}", others.join(", "));
            Err(syn::Error::new(literal.span(), text))
        }
    }
}

/// Generated tokens that resolve as ours, yet let an error point to what the author wrote.
pub(crate) fn at(span: Span) -> Span {
    Span::call_site().located_at(span)
}

fn named<'a>(attributes: &'a [Attribute], name: &str) -> impl Iterator<Item = &'a Attribute> {
    attributes.iter().filter(move |attribute| attribute.path().is_ident(name))
}

fn refuse_inside(data: &Data, name: &str) -> syn::Result<()> {
    let refuse = |attributes: &[Attribute]| match named(attributes, name).next() {
        Some(attribute) => Err(syn::Error::new_spanned(
            attribute,
            format!("`#[{name}(...)]` says nothing about a field or a variant: put it on the type"),
        )),
        None => Ok(()),
    };
    let fields = |fields: &Fields| fields.iter().try_for_each(|field: &Field| refuse(&field.attrs));
    match data {
        Data::Struct(data) => fields(&data.fields),
        Data::Enum(data) => data.variants.iter().try_for_each(|variant| {
            refuse(&variant.attrs)?;
            fields(&variant.fields)
        }),
        Data::Union(_) => Ok(()),
    }
}

/// Reads the argument of an attribute macro: at most `crate = path`.
pub(crate) fn arguments(tokens: TokenStream) -> syn::Result<Facade> {
    let mut facade = Facade::default();
    let parser = syn::meta::parser(|meta| match meta.path.is_ident(Facade::KEY) {
        true => facade.read(&meta),
        false => Err(unknown(&meta, &[Facade::KEY])),
    });
    syn::parse::Parser::parse2(parser, tokens)?;
    Ok(facade)
}

/// What the tests of expansions ask.
#[cfg(test)]
pub(crate) mod expansion {
    use proc_macro2::TokenStream;

    /// The text of an expansion, which is well-formed.
    pub(crate) fn text(expanded: syn::Result<TokenStream>) -> String {
        let tokens = expanded.unwrap();
        syn::parse2::<syn::File>(tokens.clone()).unwrap();
        tokens.to_string()
    }

    /// Why there is no expansion.
    pub(crate) fn refusal(expanded: syn::Result<TokenStream>) -> String {
        expanded.unwrap_err().to_string()
    }
}
