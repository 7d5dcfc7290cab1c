//! `#[actogen::function]`: a function that other contexts can call.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{FnArg, ItemFn, LitInt, PatType, ReturnType, Safety, Signature, Type, spanned::Spanned};

use crate::{
    attributes::{self, Facade},
    name::Name,
    tag,
};

const KEYS: &[&str] = &["name", "version", "blocking", Facade::KEY];

/// What the attribute says, each key once at most.
#[derive(Default)]
struct Keys {
    facade: Facade,
    name: Option<Name>,
    version: Option<u32>,
    blocking: Option<()>,
}

impl Keys {
    fn read(tokens: TokenStream) -> syn::Result<Self> {
        let mut keys = Keys::default();
        let parser = syn::meta::parser(|meta| match attributes::key(&meta).as_str() {
            "name" => attributes::once(&mut keys.name, &meta, meta.value()?.parse()?),
            "version" => {
                let version: LitInt = meta.value()?.parse()?;
                attributes::once(&mut keys.version, &meta, attributes::version(&version)?)
            }
            "blocking" => attributes::once(&mut keys.blocking, &meta, ()),
            Facade::KEY => keys.facade.read(&meta),
            _ => Err(attributes::unknown(&meta, KEYS)),
        });
        syn::parse::Parser::parse2(parser, tokens)?;
        Ok(keys)
    }
}

pub(crate) fn function(arguments: TokenStream, item: TokenStream) -> TokenStream {
    match expand(arguments, item.clone()) {
        Ok(tokens) => tokens,
        // The function stays, so that its callers in the same program are no errors of their own.
        Err(error) => {
            let error = error.to_compile_error();
            quote!(#item #error)
        }
    }
}

fn expand(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let Keys { facade, name, version, blocking } = Keys::read(arguments)?;
    let function: ItemFn = syn::parse2(item)?;
    let signature = &function.sig;
    refuse_signature(signature, blocking.is_some())?;
    let (visibility, ident) = (&function.vis, &signature.ident);
    let name = match name {
        Some(name) => name,
        None => Name::of(ident)?,
    };
    let version = version.unwrap_or(1);
    let tag = tag::of(&name.value(), version);
    let mut types = argument_types(signature)?;
    let context = types.first().is_some_and(is_context).then(|| types.remove(0));
    let context = context.map(|_| quote!(context,));
    let names: Vec<_> = (0..types.len()).map(|n| format_ident!("argument_{n}")).collect();
    let (arguments, pattern) = match (&types[..], &names[..]) {
        ([], _) => (quote!(()), quote!(())),
        ([one], [name]) => (one.to_token_stream(), quote!(#name)),
        _ => (quote!((#(#types,)*)), quote!((#(#names,)*))),
    };
    let (output, outcome) = returned(&facade, &signature.output);
    let call = quote!(#ident(#context #(#names),*));
    let run = match (signature.asyncness, blocking) {
        (Some(_), _) => {
            let outcome = outcome(quote!(#call.await));
            quote!(#facade::__private::Run::Later(::std::boxed::Box::pin(async move { #outcome })))
        }
        (None, Some(())) => {
            let outcome = outcome(call);
            quote!(#facade::__private::Run::blocking(move || #outcome))
        }
        (None, None) => {
            let outcome = outcome(call);
            quote!(#facade::__private::Run::Now(#outcome))
        }
    };
    let doc = format!("[`{ident}`](fn@{ident}) as other contexts call it.");
    // Of no value, so that the function keeps the name among values.
    Ok(quote! {
        #function

        #[doc = #doc]
        #[allow(non_camel_case_types)]
        #[derive(Debug)]
        #visibility enum #ident {}

        const _: () = {
            #[automatically_derived]
            #[diagnostic::do_not_recommend]
            impl #facade::__private::Callable for #ident {
                const NAME: &'static str = #name;
                const TAG: #facade::Tag = #facade::Tag::new(#tag);
                type Arguments = #arguments;
                type Output = #output;
            }

            #[automatically_derived]
            impl #facade::Function for #ident {
                #[allow(unused_variables, clippy::unit_arg, clippy::let_unit_value)]
                fn run(context: #facade::Context, #pattern: Self::Arguments) -> #facade::__private::Run<Self::Output> {
                    #run
                }
            }

            #facade::__private::inventory::submit! { #facade::__private::Registered::new::<#ident>() }
        };
    })
}

/// The type of a call's value, and how what the function returns becomes the outcome of the call.
pub(crate) fn returned<'a>(
    facade: &'a Facade,
    output: &ReturnType,
) -> (TokenStream, impl Fn(TokenStream) -> TokenStream + 'a) {
    let returned = match output {
        ReturnType::Default => None,
        ReturnType::Type(_, returned) => Some((**returned).clone()),
    };
    let fails = returned.as_ref().is_some_and(|returned| last_name(returned) == "Result");
    let value = match &returned {
        None => quote!(()),
        Some(returned) if fails => {
            let at = facade.at(returned.span());
            quote_spanned!(attributes::at(returned.span())=> <#returned as #at::__private::Fallible>::Output)
        }
        Some(returned) => returned.to_token_stream(),
    };
    let outcome = move |call: TokenStream| {
        if fails {
            quote!(#facade::__private::Fallible::outcome(#call))
        } else {
            quote!(::core::result::Result::Ok(#call))
        }
    };
    (value, outcome)
}

fn is_context(first: &Type) -> bool {
    last_name(first) == "Context"
}

/// The last name of a type's path; nothing for other types.
pub(crate) fn last_name(of: &Type) -> String {
    match of {
        Type::Path(path) => {
            path.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default()
        }
        _ => String::new(),
    }
}

pub(crate) fn argument_types(signature: &Signature) -> syn::Result<Vec<Type>> {
    let own = |argument: &FnArg| match argument {
        FnArg::Receiver(receiver) => Err(syn::Error::new_spanned(
            receiver,
            "this must be a free function: nothing of `self` is there where it is called",
        )),
        FnArg::Typed(PatType { ty, .. }) => match &**ty {
            Type::Reference(reference) => Err(syn::Error::new_spanned(
                reference,
                "an argument comes from another process: own it, as `String` instead of `&str`",
            )),
            Type::ImplTrait(opaque) => Err(syn::Error::new_spanned(
                opaque,
                "an argument comes from another process: name its type",
            )),
            ty => Ok(ty.clone()),
        },
    };
    signature.inputs.iter().map(own).collect()
}

pub(crate) fn refuse_signature(signature: &Signature, blocking: bool) -> syn::Result<()> {
    if !signature.generics.params.is_empty() || signature.generics.where_clause.is_some() {
        return Err(syn::Error::new_spanned(
            &signature.generics,
            "a function that is called by its name has no parameters to choose: remove its generics and `where` clause",
        ));
    }
    if !matches!(signature.safety, Safety::Default)
        || signature.abi.is_some()
        || signature.variadic.is_some()
    {
        return Err(syn::Error::new_spanned(
            signature,
            "the function is called by the runtime: make it a plain `fn` or `async fn`",
        ));
    }
    if let (Some(asyncness), true) = (signature.asyncness, blocking) {
        return Err(syn::Error::new_spanned(
            asyncness,
            "an `async fn` does not block: remove `blocking`, or `async`",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::expansion;

    fn expanded(arguments: TokenStream, item: TokenStream) -> String {
        expansion::text(expand(arguments, item))
    }

    fn refused(arguments: TokenStream, item: TokenStream) -> String {
        expansion::refusal(expand(arguments, item))
    }

    #[test]
    fn the_functions_own_name_is_what_it_is_called_by() {
        let text = expanded(
            quote!(),
            quote!(
                pub fn hostname() -> String {
                    todo!()
                }
            ),
        );
        for part in [
            "const NAME : & 'static str = \"hostname\"",
            "type Arguments = ()",
            "type Output = String",
            "pub enum hostname { }",
            "Run :: Now",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn one_argument_is_itself_and_several_are_a_tuple() {
        let one = expanded(
            quote!(),
            quote!(
                fn double(n: u64) -> u64 {
                    2 * n
                }
            ),
        );
        assert!(one.contains("type Arguments = u64"), "{one}");
        let two = expanded(
            quote!(name = "calc.add"),
            quote!(
                fn add(a: u64, b: u64) -> u64 {
                    a + b
                }
            ),
        );
        assert!(two.contains("type Arguments = (u64 , u64 ,)"), "{two}");
        assert!(two.contains("\"calc.add\""), "{two}");
    }

    #[test]
    fn a_context_is_given_by_where_the_function_runs() {
        let text = expanded(
            quote!(),
            quote!(
                async fn id(cx: actogen::Context, n: u8) -> u64 {
                    0
                }
            ),
        );
        assert!(text.contains("type Arguments = u8"), "{text}");
        assert!(text.contains("id (context , argument_0) . await"), "{text}");
        assert!(text.contains("Run :: Later"), "{text}");
    }

    #[test]
    fn a_result_is_a_value_or_a_failure() {
        let text = expanded(
            quote!(),
            quote!(
                fn read() -> std::io::Result<String> {
                    todo!()
                }
            ),
        );
        assert!(text.contains("Fallible > :: Output"), "{text}");
        assert!(text.contains("Fallible :: outcome (read ())"), "{text}");
    }

    #[test]
    fn what_could_not_be_called_is_refused_with_the_remedy() {
        for (arguments, item, text) in [
            (
                quote!(),
                quote!(
                    fn f<T>(t: T) {}
                ),
                "remove its generics",
            ),
            (
                quote!(),
                quote!(
                    fn f(&self) {}
                ),
                "a free function",
            ),
            (
                quote!(),
                quote!(
                    fn f(name: &str) {}
                ),
                "`String` instead of `&str`",
            ),
            (
                quote!(),
                quote!(
                    fn f(name: impl Sized) {}
                ),
                "name its type",
            ),
            (
                quote!(),
                quote!(
                    unsafe fn f() {}
                ),
                "a plain `fn`",
            ),
            (
                quote!(blocking),
                quote!(
                    async fn f() {}
                ),
                "does not block",
            ),
            (
                quote!(nmae = "f"),
                quote!(
                    fn f() {}
                ),
                "unknown key `nmae`",
            ),
            (
                quote!(name = "a b"),
                quote!(
                    fn f() {}
                ),
                "a name cannot hold",
            ),
            (
                quote!(version = 0),
                quote!(
                    fn f() {}
                ),
                "versions count from 1",
            ),
        ] {
            let error = refused(arguments, item);
            assert!(error.contains(text), "{text} in {error}");
        }
    }
}
