//! `#[derive(RemoteMessage)]`: a type's name, version, reply and codec.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Data, DeriveInput, LitStr, Type, parse::ParseStream, parse_quote};

use crate::{
    attributes::{self, Facade},
    name::Name,
    tag,
};

const KEYS: &[&str] = &["name", "version", "reply", "codec", Facade::KEY];

/// What `#[remote(...)]` says of a message, each key once at most.
#[derive(Default)]
struct Keys {
    facade: Facade,
    name: Option<Name>,
    version: Option<u32>,
    reply: Option<(Type, Span)>,
    codec: Option<Ident>,
}

impl Keys {
    fn read(input: &DeriveInput) -> syn::Result<Self> {
        let mut keys = Keys::default();
        attributes::each_key(input, "remote", |key, meta| match key {
            "name" => attributes::once(&mut keys.name, &meta, meta.value()?.parse()?),
            "version" => {
                let version = meta.value()?.parse()?;
                attributes::once(&mut keys.version, &meta, attributes::version(&version)?)
            }
            "reply" => attributes::once(&mut keys.reply, &meta, reply(meta.value()?)?),
            "codec" => attributes::once(&mut keys.codec, &meta, attributes::codec(&meta)?),
            Facade::KEY => keys.facade.read(&meta),
            _ => Err(attributes::unknown(&meta, KEYS)),
        })?;
        Ok(keys)
    }
}

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    refuse_shape(input)?;
    let Keys { facade, name, version, reply, codec } = Keys::read(input)?;
    let ident = &input.ident;
    let Some(name) = name else {
        return Err(syn::Error::new_spanned(
            ident,
            format!(
                "a remote message needs a name that peers know it by: add `#[remote(name = \"area.{ident}\")]`"
            ),
        ));
    };
    let version = version.unwrap_or(1);
    let tag = tag::of(&name.value(), version);
    let codec = codec.unwrap_or_else(|| format_ident!("Postcard"));
    let (reply, reply_at) = reply.unwrap_or_else(|| (parse_quote!(()), ident.span()));
    // The trait asks that message and reply can travel. The compiler shows the first at the type, the second at the trait's path.
    let trait_at = facade.at(reply_at);
    let implement = quote_spanned!(attributes::at(reply_at)=> impl #trait_at::RemoteMessage for);
    Ok(quote! {
        #[automatically_derived]
        impl #facade::__private::actix::Message for #ident {
            type Result = #reply;
        }
        #[automatically_derived]
        #implement #ident {
            const NAME: &'static str = #name;
            const VERSION: u32 = #version;
            const TAG: #facade::Tag = #facade::Tag::new(#tag);
            const CODEC: #facade::Codec = #facade::Codec::#codec;
        }
    })
}

/// One name is one tag and so one shape: whatever could have several instances is refused.
fn refuse_shape(input: &DeriveInput) -> syn::Result<()> {
    if !input.generics.params.is_empty() {
        return Err(syn::Error::new_spanned(
            &input.generics,
            "a remote message has no parameters or lifetimes, because all its instances would share one tag: \
             declare one message for each type that is sent, and let it own its data",
        ));
    }
    if let Data::Union(data) = &input.data {
        return Err(syn::Error::new_spanned(
            data.union_token,
            "a union cannot be serialized: use an enum",
        ));
    }
    Ok(())
}

fn reply(input: ParseStream<'_>) -> syn::Result<(Type, Span)> {
    let hint = "the reply is a type in quotes, such as `reply = \"i64\"`";
    let literal: LitStr = input.parse().map_err(|error| syn::Error::new(error.span(), hint))?;
    let reply = literal
        .parse()
        .map_err(|error| syn::Error::new(literal.span(), format!("{hint}: {error}")))?;
    Ok((reply, literal.span()))
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
    fn defaults_are_version_1_postcard_and_no_reply() {
        let text = expanded(parse_quote!(
            #[remote(name = "calc.Add")]
            struct Add(i64, i64);
        ));
        for part in [
            "VERSION : u32 = 1u32",
            "Codec :: Postcard",
            "type Result = ()",
            "impl :: actogen :: RemoteMessage for Add",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn keys_may_stand_in_several_attributes() {
        let text = expanded(parse_quote! {
            #[remote(name = "calc.Add", version = 3)]
            #[remote(reply = "Result<i64, String>", codec = "json", crate = crate::facade)]
            enum Add { One }
        });
        for part in [
            "VERSION : u32 = 3u32",
            "crate :: facade :: Codec :: Json",
            "type Result = Result < i64 , String >",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("actogen"), "{text}");
    }

    #[test]
    fn a_missing_name_is_asked_for_by_example() {
        assert!(
            refused(parse_quote!(
                struct Add;
            ))
            .contains("#[remote(name = \"area.Add\")]")
        );
    }

    #[test]
    fn parameters_of_each_kind_are_refused() {
        let generic: [DeriveInput; 3] = [
            parse_quote!(
                #[remote(name = "a")]
                struct A<T>(T);
            ),
            parse_quote!(
                #[remote(name = "a")]
                struct A<'a>(&'a str);
            ),
            parse_quote!(
                #[remote(name = "a")]
                struct A<const N: usize>([u8; N]);
            ),
        ];
        for input in generic {
            assert!(refused(input).contains("share one tag"));
        }
    }

    #[test]
    fn versions_outside_the_range_are_refused() {
        let outside: [DeriveInput; 2] = [
            parse_quote!(
                #[remote(name = "a", version = 0)]
                struct A;
            ),
            parse_quote!(
                #[remote(name = "a", version = 4294967296)]
                struct A;
            ),
        ];
        for input in outside {
            assert!(refused(input).contains("from 1 to 4294967295"));
        }
    }

    #[test]
    fn keys_that_are_wrong_are_named() {
        assert!(
            refused(parse_quote!(
                #[remote(nmae = "a")]
                struct A;
            ))
            .contains("unknown key `nmae`: the keys are `name`")
        );
        assert!(
            refused(parse_quote!(
                #[remote(name = "a", name = "b")]
                struct A;
            ))
            .contains("`name` is given twice")
        );
        assert!(
            refused(parse_quote!(
                #[remote(name = "a", codec = "xml")]
                struct A;
            ))
            .contains("unknown codec \"xml\"")
        );
        assert!(
            refused(parse_quote!(
                #[remote(name = "a", reply = i64)]
                struct A;
            ))
            .contains("a type in quotes")
        );
        assert!(
            refused(parse_quote!(
                #[remote(name = "a", reply = "Vec<")]
                struct A;
            ))
            .contains("a type in quotes")
        );
    }

    #[test]
    fn the_attribute_inside_the_type_is_refused() {
        let inside: [DeriveInput; 2] = [
            parse_quote!(
                #[remote(name = "a")]
                struct A {
                    #[remote(name = "b")]
                    b: u8,
                }
            ),
            parse_quote!(
                #[remote(name = "a")]
                enum A {
                    #[remote(name = "b")]
                    B,
                }
            ),
        ];
        for input in inside {
            assert!(refused(input).contains("put it on the type"));
        }
    }
}
