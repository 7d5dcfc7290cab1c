//! `#[derive(RemoteActor)]`: an actor's name, the messages that reach it from other processes, and how peers may start it.

use std::collections::HashSet;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{
    DeriveInput, GenericParam, Generics, Token, Type, meta::ParseNestedMeta, parenthesized,
    spanned::Spanned, token,
};

use crate::{
    attributes::{self, Facade},
    name::Name,
};

const KEYS: &[&str] = &["name", "messages", "inbound", "spawn", Facade::KEY];

/// Which handler a message goes to.
#[derive(Clone, Copy)]
enum Delivery {
    /// `Handler<M>`.
    Plain,
    /// `Handler<Inbound<M>>`.
    Inbound,
}

/// A message of the list.
struct Listed {
    message: Type,
    delivery: Delivery,
}

/// How a peer's wish to start the actor is met.
enum Start {
    /// `spawn`: by `Default`.
    Default,
    /// `spawn(Args)`: by `From<Args>`.
    From(Box<Type>),
    /// `spawn = custom`: the author implements it.
    Custom,
}

/// What `#[remote(...)]` says of an actor. Lists may be given in parts.
#[derive(Default)]
struct Keys {
    facade: Facade,
    name: Option<Name>,
    listed: Vec<Listed>,
    spawn: Option<(Start, Span)>,
}

impl Keys {
    fn read(input: &DeriveInput) -> syn::Result<Self> {
        let mut keys = Keys::default();
        attributes::each_key(input, "remote", |key, meta| match key {
            "name" => attributes::once(&mut keys.name, &meta, meta.value()?.parse()?),
            "messages" => keys.list(&meta, Delivery::Plain),
            "inbound" => keys.list(&meta, Delivery::Inbound),
            "spawn" => attributes::once(&mut keys.spawn, &meta, (start(&meta)?, meta.path.span())),
            Facade::KEY => keys.facade.read(&meta),
            _ => Err(attributes::unknown(&meta, KEYS)),
        })?;
        Ok(keys)
    }

    fn list(&mut self, meta: &ParseNestedMeta<'_>, delivery: Delivery) -> syn::Result<()> {
        let messages = attributes::types(meta)?;
        self.listed.extend(messages.into_iter().map(|message| Listed { message, delivery }));
        Ok(())
    }
}

fn start(meta: &ParseNestedMeta<'_>) -> syn::Result<Start> {
    if meta.input.peek(token::Paren) {
        let content;
        parenthesized!(content in meta.input);
        let arguments = content.parse()?;
        return match content.is_empty() {
            true => Ok(Start::From(Box::new(arguments))),
            false => Err(content.error(
                "`spawn(Args)` takes one type: put several arguments in a struct or a tuple",
            )),
        };
    }
    if !meta.input.peek(Token![=]) {
        return Ok(Start::Default);
    }
    let word: Ident = meta.value()?.parse()?;
    match word == "custom" {
        true => Ok(Start::Custom),
        false => {
            Err(syn::Error::new_spanned(word, "write `spawn`, `spawn(Args)` or `spawn = custom`"))
        }
    }
}

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let Keys { facade, name, listed, spawn } = Keys::read(input)?;
    let ident = &input.ident;
    let Some(name) = name else {
        return Err(syn::Error::new_spanned(
            ident,
            format!(
                "a remote actor needs a name that peers know it by: add `#[remote(name = \"area.{ident}\", messages(...))]`"
            ),
        ));
    };
    refuse_lifetimes(&input.generics)?;
    refuse_twice(&listed)?;
    refuse_parameters_in(&listed, &input.generics)?;
    let tags = tags(&facade, &name, &listed);
    let dispatch = dispatch(&facade, &listed);
    let spawn = spawn.map(|(start, place)| spawned(&facade, input, &start, place)).transpose()?;
    let (head, arguments, bounds) = input.generics.split_for_impl();
    let accepted = listed.iter().map(|Listed { message, .. }| {
        quote_spanned! {attributes::at(message.span())=>
            #[automatically_derived]
            impl #head #facade::MessageOf<#ident #arguments> for #message #bounds {}
        }
    });
    // One block for all, so that the tags are computed, and a type that is no message is reported, in one place.
    Ok(quote! {
        const _: () = {
            #tags

            #[automatically_derived]
            impl #head #facade::RemoteActor for #ident #arguments #bounds {
                const NAME: &'static str = #name;
                const TAGS: &'static [#facade::Tag] = __ACTOGEN_TAGS;
                #dispatch
            }

            #[automatically_derived]
            impl #head #facade::__private::actix::Handler<#facade::__private::Attach<Self>> for #ident #arguments #bounds {
                type Result = ();

                fn handle(
                    &mut self,
                    message: #facade::__private::Attach<Self>,
                    ctx: &mut <Self as #facade::__private::actix::Actor>::Context,
                ) {
                    message.attach(ctx)
                }
            }

            #(#accepted)*

            #spawn
        };
    })
}

/// The tags of the listed messages, and the check that no two are equal.
fn tags(facade: &Facade, name: &Name, listed: &[Listed]) -> TokenStream {
    let tags = listed
        .iter()
        .map(|Listed { message, .. }| quote_spanned!(attributes::at(message.span())=> <#message as #facade::RemoteMessage>::TAG));
    let tags = quote!(const __ACTOGEN_TAGS: &[#facade::Tag] = &[#(#tags),*];);
    if listed.len() < 2 {
        return tags;
    }
    let fault = format!(
        "two messages of actor `{}` have the same tag: give one another name or version",
        name.value()
    );
    let facade = facade.at(name.span());
    let check = quote_spanned! {attributes::at(name.span())=>
        const _: () = #facade::__private::no_duplicate_tags(__ACTOGEN_TAGS, #fault);
    };
    quote!(#tags #check)
}

/// A match on literals, which the compiler turns into a search tree.
fn dispatch(facade: &Facade, listed: &[Listed]) -> TokenStream {
    let consts: Vec<_> =
        (0..listed.len()).map(|index| format_ident!("__ACTOGEN_TAG_{index}")).collect();
    let indices = 0..listed.len();
    let arms = listed.iter().zip(&consts).map(|(Listed { message, delivery }, tag)| {
        let deliver = match delivery {
            Delivery::Plain => quote!(deliver),
            Delivery::Inbound => quote!(deliver_inbound),
        };
        let call = quote_spanned! {attributes::at(message.span())=>
            #facade::__private::#deliver::<Self, #message>(self, envelope, turn)
        };
        quote!(#tag => #call,)
    });
    quote! {
        fn dispatch(&mut self, envelope: &mut #facade::__private::Envelope<'_>, turn: &mut #facade::__private::Turn<'_, Self>) {
            #(const #consts: u64 = __ACTOGEN_TAGS[#indices].get();)*
            match envelope.tag().get() {
                #(#arms)*
                _ => #facade::__private::unknown::<Self>(envelope, turn),
            }
        }
    }
}

/// The registration of an actor that peers may start, and how it is made.
fn spawned(
    facade: &Facade,
    input: &DeriveInput,
    start: &Start,
    place: Span,
) -> syn::Result<TokenStream> {
    if !input.generics.params.is_empty() {
        return Err(syn::Error::new(
            place,
            "a generic actor cannot be spawned by peers, who ask for it by its one name: remove `spawn`, \
             or wrap each instance in a type of its own",
        ));
    }
    let ident = &input.ident;
    let place = attributes::at(place);
    let made = match start {
        Start::Default => Some((
            quote!(()),
            quote!(_: ()),
            quote_spanned!(place=> <Self as ::core::default::Default>::default()),
        )),
        Start::From(arguments) => {
            let make = quote_spanned!(attributes::at(arguments.span())=> <Self as ::core::convert::From<#arguments>>::from(arguments));
            Some((quote!(#arguments), quote!(arguments: #arguments), make))
        }
        Start::Custom => None,
    };
    let made = made.map(|(arguments, parameter, make)| {
        quote! {
            #[automatically_derived]
            impl #facade::Spawn for #ident {
                type Args = #arguments;

                fn spawn(#parameter, _: &#facade::Context) -> Self {
                    #make
                }
            }
        }
    });
    let registered = quote_spanned!(place=> #facade::__private::Spawnable::new::<#ident>());
    Ok(quote! {
        #made
        #facade::__private::inventory::submit! { #registered }
    })
}

fn refuse_lifetimes(generics: &Generics) -> syn::Result<()> {
    match generics.lifetimes().next() {
        Some(lifetime) => Err(syn::Error::new_spanned(
            lifetime,
            "an actor outlives the scope that starts it: own the data instead of borrowing it",
        )),
        None => Ok(()),
    }
}

fn refuse_twice(listed: &[Listed]) -> syn::Result<()> {
    match attributes::twice(listed.iter().map(|Listed { message, .. }| message)) {
        None => Ok(()),
        Some((message, text)) => Err(syn::Error::new_spanned(
            message,
            format!("`{text}` is listed twice: name it once, in `messages` or in `inbound`"),
        )),
    }
}

fn refuse_parameters_in(listed: &[Listed], generics: &Generics) -> syn::Result<()> {
    let parameters: HashSet<_> = generics
        .params
        .iter()
        .filter_map(|parameter| match parameter {
            GenericParam::Type(parameter) => Some(&parameter.ident),
            GenericParam::Const(parameter) => Some(&parameter.ident),
            GenericParam::Lifetime(_) => None,
        })
        .collect();
    for Listed { message, .. } in listed {
        if let Some(parameter) = mentioned(message.to_token_stream(), &parameters) {
            return Err(syn::Error::new_spanned(
                message,
                format!(
                    "a message cannot mention the actor's parameter `{parameter}`, because a message has one tag: list a concrete type"
                ),
            ));
        }
    }
    Ok(())
}

fn mentioned(tokens: TokenStream, parameters: &HashSet<&Ident>) -> Option<Ident> {
    tokens.into_iter().find_map(|tree| match tree {
        TokenTree::Ident(ident) => parameters.contains(&ident).then_some(ident),
        TokenTree::Group(group) => mentioned(group.stream(), parameters),
        TokenTree::Punct(_) | TokenTree::Literal(_) => None,
    })
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
    fn each_list_goes_to_its_handler() {
        let text = expanded(parse_quote!(
            #[remote(name = "calc", messages(Add, Sub), inbound(Who))]
            struct Calc;
        ));
        for part in [
            "deliver :: < Self , Add >",
            "deliver :: < Self , Sub >",
            "deliver_inbound :: < Self , Who >",
            "no_duplicate_tags",
            "impl :: actogen :: MessageOf < Calc > for Who",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("inventory"), "{text}");
    }

    #[test]
    fn an_actor_without_messages_answers_unknown() {
        let text = expanded(parse_quote!(
            #[remote(name = "calc")]
            struct Calc;
        ));
        assert!(
            text.contains("_ => :: actogen :: __private :: unknown :: < Self > (envelope , turn)"),
            "{text}"
        );
        assert!(!text.contains("no_duplicate_tags"), "{text}");
    }

    #[test]
    fn spawn_is_by_default_from_arguments_or_by_the_author() {
        let by_default = expanded(parse_quote!(
            #[remote(name = "calc", spawn)]
            struct Calc;
        ));
        assert!(by_default.contains("type Args = ()"), "{by_default}");
        let from = expanded(parse_quote!(
            #[remote(name = "calc", spawn(Vec<u8>))]
            struct Calc;
        ));
        assert!(from.contains("type Args = Vec < u8 >"), "{from}");
        assert!(from.contains(":: from (arguments)"), "{from}");
        let custom = expanded(parse_quote!(
            #[remote(name = "calc", spawn = custom)]
            struct Calc;
        ));
        assert!(!custom.contains(":: Spawn for"), "{custom}");
        for text in [by_default, from, custom] {
            assert!(text.contains("Spawnable :: new :: < Calc > ()"), "{text}");
        }
    }

    #[test]
    fn a_generic_actor_keeps_its_bounds() {
        let text = expanded(parse_quote! {
            #[remote(name = "cache", messages(Clear))]
            struct Cache<K: Hash, const N: usize> where K: 'static { keys: [K; N] }
        });
        assert!(text.contains("impl < K : Hash , const N : usize > :: actogen :: RemoteActor for Cache < K , N > where K : 'static"), "{text}");
    }

    #[test]
    fn generic_actors_are_refused_where_one_name_must_do() {
        assert!(
            refused(parse_quote!(
                #[remote(name = "cache", spawn)]
                struct Cache<K>(K);
            ))
            .contains("cannot be spawned")
        );
        let mentions = refused(parse_quote!(
            #[remote(name = "cache", messages(Put<(K, u8)>))]
            struct Cache<K>(K);
        ));
        assert!(mentions.contains("the actor's parameter `K`"), "{mentions}");
        assert!(
            refused(parse_quote!(
                #[remote(name = "cache")]
                struct Cache<'a>(&'a str);
            ))
            .contains("own the data")
        );
    }

    #[test]
    fn a_message_listed_twice_is_refused() {
        let twice: [DeriveInput; 2] = [
            parse_quote!(
                #[remote(name = "calc", messages(Add, Add))]
                struct Calc;
            ),
            parse_quote!(
                #[remote(name = "calc", messages(Add), inbound(Add))]
                struct Calc;
            ),
        ];
        for input in twice {
            assert!(refused(input).contains("`Add` is listed twice"));
        }
    }

    #[test]
    fn keys_that_are_wrong_are_named() {
        assert!(
            refused(parse_quote!(
                struct Calc;
            ))
            .contains("#[remote(name = \"area.Calc\", messages(...))]")
        );
        assert!(
            refused(parse_quote!(
                #[remote(name = "calc", version = 2)]
                struct Calc;
            ))
            .contains("unknown key `version`")
        );
        assert!(
            refused(parse_quote!(
                #[remote(name = "calc", messages = Add)]
                struct Calc;
            ))
            .contains("such as `messages(Add, Sub)`")
        );
        assert!(
            refused(parse_quote!(
                #[remote(name = "calc", spawn = magic)]
                struct Calc;
            ))
            .contains("`spawn = custom`")
        );
        assert!(
            refused(parse_quote!(
                #[remote(name = "calc", spawn(A, B))]
                struct Calc;
            ))
            .contains("takes one type")
        );
        assert!(
            refused(parse_quote!(
                #[remote(name = "calc", spawn, spawn)]
                struct Calc;
            ))
            .contains("`spawn` is given twice")
        );
    }
}
