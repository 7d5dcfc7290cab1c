//! `#[derive(JournaledActor)]`: an actor's kind, the shape of its state, and the messages that its turns handle.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{DeriveInput, LitStr, Path, Type, spanned::Spanned};

use crate::{attributes, name::Name};

const KEYS: &[&str] =
    &["kind", "version", "codec", "messages", "keep", "events", "begin", "migrate", "crate"];

/// What `#[journaled(...)]` says, each key once at most; lists may be given in parts.
#[derive(Default)]
struct Keys {
    facade: Option<Path>,
    kind: Option<Name>,
    version: Option<u32>,
    codec: Option<Ident>,
    messages: Vec<Type>,
    keep: Option<Ident>,
    events: Option<Type>,
    begin: Option<Path>,
    migrate: Option<Path>,
}

impl Keys {
    fn read(input: &DeriveInput) -> syn::Result<Self> {
        let mut keys = Keys::default();
        attributes::each_key(input, "journaled", |key, meta| match key {
            "kind" => attributes::once(&mut keys.kind, &meta, meta.value()?.parse()?),
            "version" => {
                let version = meta.value()?.parse()?;
                attributes::once(&mut keys.version, &meta, attributes::version(&version)?)
            }
            "codec" => attributes::once(&mut keys.codec, &meta, attributes::codec(&meta)?),
            "keep" => {
                let keep = [("snapshot", "Snapshot"), ("deltas", "Deltas")];
                attributes::once(&mut keys.keep, &meta, attributes::word(&meta, "way", &keep)?)
            }
            "events" => {
                let literal: LitStr = meta.value()?.parse()?;
                attributes::once(&mut keys.events, &meta, literal.parse()?)
            }
            "begin" => attributes::once(&mut keys.begin, &meta, meta.value()?.parse()?),
            "migrate" => attributes::once(&mut keys.migrate, &meta, meta.value()?.parse()?),
            "crate" => {
                attributes::once(&mut keys.facade, &meta, Path::parse_mod_style(meta.value()?)?)
            }
            "messages" => {
                keys.messages.extend(attributes::types(&meta)?);
                Ok(())
            }
            _ => Err(attributes::unknown(&meta, KEYS)),
        })?;
        Ok(keys)
    }
}

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let keys = Keys::read(input)?;
    let ident = &input.ident;
    let Some(kind) = &keys.kind else {
        return Err(syn::Error::new_spanned(
            ident,
            format!(
                "a journaled actor needs a kind, which its stored state is found by: add `#[journaled(kind = \"{}\", messages(...))]`",
                ident.to_string().to_lowercase()
            ),
        ));
    };
    if !input.generics.params.is_empty() {
        return Err(syn::Error::new_spanned(
            &input.generics,
            "a journaled actor has no parameters or lifetimes: its kind names one shape of state",
        ));
    }
    if let (Some(keep), Some(_)) = (&keys.keep, &keys.events) {
        return Err(syn::Error::new(
            keep.span(),
            "an actor that is kept as events needs no `keep`: remove one of the two",
        ));
    }
    if let Some((message, text)) = attributes::twice(&keys.messages) {
        let text = format!("`{text}` is listed twice: remove one");
        return Err(syn::Error::new_spanned(message, text));
    }
    Ok(implement(ident, kind, &keys))
}

fn implement(ident: &Ident, kind: &Name, keys: &Keys) -> TokenStream {
    let facade =
        keys.facade.as_ref().map_or_else(|| quote!(::actogen_journal), |path| quote!(#path));
    let private = quote!(#facade::__private);
    let version = keys.version.unwrap_or(1);
    let codec = keys.codec.clone().unwrap_or_else(|| format_ident!("Postcard"));
    let keep = match (&keys.keep, &keys.events) {
        (_, Some(_)) => format_ident!("Events"),
        (Some(keep), None) => keep.clone(),
        (None, None) => format_ident!("Snapshot"),
    };
    let begin = match &keys.begin {
        Some(begin) => quote!(#begin(key)),
        None => quote!({
            let _ = key;
            <Self as ::core::default::Default>::default()
        }),
    };
    let migrate = match &keys.migrate {
        Some(migrate) => quote!(#migrate(version, bytes)),
        None => quote!(::core::result::Result::Err(#private::no_migration::<Self>(version))),
    };
    let replay = keys.events.as_ref().map(|event| {
        quote! {
            fn replay(&mut self, event: &[u8]) -> ::core::result::Result<(), #facade::LoadError> {
                let event = <Self as #facade::JournaledActor>::CODEC.decode::<#event>(event)?;
                <Self as #facade::EventSourced>::apply(self, &event);
                ::core::result::Result::Ok(())
            }
        }
    });
    let messages = &keys.messages;
    let tags = messages.iter().map(|message| {
        quote_spanned!(attributes::at(message.span())=> <#message as #private::actogen::RemoteMessage>::TAG)
    });
    let check = (messages.len() > 1).then(|| {
        let fault = format!(
            "two messages of the kind `{}` have the same tag: give one another name or version",
            kind.value()
        );
        quote!(const _: () = #private::actogen::__private::no_duplicate_tags(__ACTOGEN_TAGS, #fault);)
    });
    let consts: Vec<_> =
        (0..messages.len()).map(|index| format_ident!("__ACTOGEN_TAG_{index}")).collect();
    let indices = 0..messages.len();
    let arms = messages.iter().zip(&consts).map(|(message, tag)| {
        quote_spanned!(attributes::at(message.span())=> #tag => #private::run::<Self, #message>(self, message, turn),)
    });
    let accepted = messages.iter().map(|message| {
        quote_spanned! {attributes::at(message.span())=>
            #[automatically_derived]
            impl #private::actogen::MessageOf<#ident> for #message {}
        }
    });
    quote! {
        const _: () = {
            const __ACTOGEN_TAGS: &[#private::actogen::Tag] = &[#(#tags),*];
            #check

            #[automatically_derived]
            impl #facade::JournaledActor for #ident {
                const KIND: &'static str = #kind;
                const VERSION: u32 = #version;
                const CODEC: #private::actogen::Codec = #private::actogen::Codec::#codec;
                const KEEP: #facade::Keep = #facade::Keep::#keep;
                const TAGS: &'static [#private::actogen::Tag] = __ACTOGEN_TAGS;

                fn begin(key: &str) -> Self {
                    #begin
                }

                fn save(&self) -> ::core::result::Result<::std::vec::Vec<u8>, #private::actogen::CodecError> {
                    <Self as #facade::JournaledActor>::CODEC.encode(self)
                }

                fn load(version: u32, bytes: &[u8]) -> ::core::result::Result<Self, #facade::LoadError> {
                    if version == <Self as #facade::JournaledActor>::VERSION {
                        return ::core::result::Result::Ok(<Self as #facade::JournaledActor>::CODEC.decode(bytes)?);
                    }
                    #migrate
                }

                #replay

                fn dispatch(
                    &mut self,
                    message: &#private::Packed,
                    turn: &mut #facade::Turn<Self>,
                ) -> ::core::result::Result<::std::vec::Vec<u8>, #private::Fault> {
                    #(const #consts: u64 = __ACTOGEN_TAGS[#indices].get();)*
                    match message.tag {
                        #(#arms)*
                        tag => ::core::result::Result::Err(#private::Fault::Unknown(tag)),
                    }
                }
            }

            #(#accepted)*
        };
    }
}

#[cfg(test)]
mod tests {
    use syn::{DeriveInput, parse_quote};

    use super::expand;
    use crate::attributes::expansion;

    fn expanded(input: DeriveInput) -> String {
        expansion::text(expand(&input))
    }

    fn refused(input: DeriveInput) -> String {
        expansion::refusal(expand(&input))
    }

    #[test]
    fn each_message_has_its_arm() {
        let text = expanded(parse_quote!(
            #[journaled(kind = "account", version = 3, messages(Deposit, Withdraw))]
            struct Account;
        ));
        for part in
            ["run :: < Self , Deposit >", "run :: < Self , Withdraw >", "VERSION : u32 = 3u32"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(
            refused(parse_quote!(
                struct Account;
            ))
            .contains("#[journaled(kind = \"account\"")
        );
        assert!(
            refused(parse_quote!(
                #[journaled(kind = "a", messages(Deposit, Deposit))]
                struct Account;
            ))
            .contains("listed twice")
        );
        assert!(
            refused(parse_quote!(
                #[journaled(kind = "a", keep = "everything")]
                struct Account;
            ))
            .contains("write \"snapshot\" or \"deltas\"")
        );
        assert!(
            refused(parse_quote!(
                #[journaled(kind = "a")]
                struct Account<T>(T);
            ))
            .contains("no parameters")
        );
    }
}
