//! `#[actogen::main]` and `#[actogen::test]`: an `async fn` run in a context.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Attribute, FnArg, ItemFn, Safety, Signature, Visibility};

use crate::attributes;

pub(crate) fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand_main(arguments, item.clone()).unwrap_or_else(|error| refused(&error, item))
}

pub(crate) fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand_test(arguments, item.clone()).unwrap_or_else(|error| refused(&error, item))
}

/// The error, and a function that stands in: without it the compiler would complain of a missing `main` and of imports that
/// only the author's body uses, and the fault that is ours would be hard to see.
fn refused(error: &syn::Error, item: TokenStream) -> TokenStream {
    let error = error.to_compile_error();
    let Ok(mut function) = syn::parse2::<ItemFn>(item) else { return error };
    function.attrs.clear();
    function.vis = Visibility::Inherited;
    function.sig.asyncness.get_or_insert_default();
    let name = &function.sig.ident;
    let body = function.sig.receiver().is_none().then_some(&function);
    quote! {
        #error
        #[allow(unused)]
        fn #name() {
            #body
        }
    }
}

fn expand_main(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let facade = attributes::arguments(arguments)?;
    let Entry { attributes, visibility, function } = Entry::read(item)?;
    let name = &function.sig.ident;
    if function.sig.inputs.len() != 1 {
        let place: &dyn ToTokens =
            if function.sig.inputs.is_empty() { name } else { &function.sig.inputs };
        return Err(syn::Error::new_spanned(
            place,
            "`main` takes one parameter, its context: write `async fn main(cx: Context)`",
        ));
    }
    Ok(quote! {
        #(#attributes)*
        #visibility fn #name() -> ::std::process::ExitCode {
            #function
            #facade::__private::run_main(#name)
        }
    })
}

fn expand_test(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let facade = attributes::arguments(arguments)?;
    let Entry { attributes, visibility, function } = Entry::read(item)?;
    if let Some(attribute) = attributes.iter().find(|attribute| attribute.path().is_ident("test")) {
        return Err(syn::Error::new_spanned(
            attribute,
            "`#[actogen::test]` makes the test already: remove `#[test]`",
        ));
    }
    let name = &function.sig.ident;
    let body = match function.sig.inputs.len() {
        0 => quote!(|_| #name()),
        1 => quote!(#name),
        _ => {
            return Err(syn::Error::new_spanned(
                &function.sig.inputs,
                "a test takes its context or nothing: write `(cx: Context)` or `()`",
            ));
        }
    };
    Ok(quote! {
        #[::core::prelude::v1::test]
        #(#attributes)*
        #visibility fn #name() {
            #function
            #facade::__private::run_test(::core::module_path!(), ::core::stringify!(#name), #body)
        }
    })
}

/// An author's function, taken apart: what stays outside, and the `async fn` that goes inside.
struct Entry {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    function: ItemFn,
}

impl Entry {
    fn read(item: TokenStream) -> syn::Result<Self> {
        let mut function: ItemFn = syn::parse2(item)?;
        refuse_signature(&function.sig)?;
        Ok(Entry {
            attributes: std::mem::take(&mut function.attrs),
            visibility: std::mem::replace(&mut function.vis, Visibility::Inherited),
            function,
        })
    }
}

fn refuse_signature(signature: &Signature) -> syn::Result<()> {
    if signature.asyncness.is_none() {
        return Err(syn::Error::new_spanned(
            signature.fn_token,
            "the function runs in a context: write `async fn`",
        ));
    }
    if !signature.generics.params.is_empty() || signature.generics.where_clause.is_some() {
        return Err(syn::Error::new_spanned(
            &signature.generics,
            "nobody could choose the parameters of this function: remove its generics and `where` clause",
        ));
    }
    if let Some(receiver @ FnArg::Receiver(_)) = signature.inputs.first() {
        return Err(syn::Error::new_spanned(
            receiver,
            "this is a free function: take `cx: Context` instead of `self`",
        ));
    }
    if !matches!(signature.safety, Safety::Default)
        || signature.abi.is_some()
        || signature.variadic.is_some()
    {
        return Err(syn::Error::new_spanned(
            signature,
            "the function is called by the runtime: make it a plain `async fn`",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proc_macro2::TokenStream;
    use quote::quote;
    use syn::{File, parse2};

    use super::{expand_main, expand_test, main, test};

    fn text(tokens: TokenStream) -> String {
        parse2::<File>(tokens.clone()).unwrap();
        tokens.to_string()
    }

    #[test]
    fn main_becomes_a_function_that_runs_it() {
        let text = text(main(
            quote!(),
            quote!(
                /** Does it. */
                async fn main(cx: Context) -> Result<(), Error> {
                    Ok(())
                }
            ),
        ));
        assert!(
            text.contains(
                "fn main () -> :: std :: process :: ExitCode { async fn main (cx : Context)"
            ),
            "{text}"
        );
        assert!(text.contains(":: actogen :: __private :: run_main (main)"), "{text}");
    }

    #[test]
    fn the_facade_can_be_elsewhere() {
        let text = text(main(
            quote!(crate = my::facade),
            quote!(
                async fn main(cx: Context) {}
            ),
        ));
        assert!(text.contains("my :: facade :: __private :: run_main"), "{text}");
    }

    #[test]
    fn main_is_refused_with_the_reason() {
        for (item, reason) in [
            (
                quote!(
                    fn main(cx: Context) {}
                ),
                "write `async fn`",
            ),
            (
                quote!(
                    async fn main() {}
                ),
                "one parameter",
            ),
            (
                quote!(
                    async fn main(cx: Context, more: u8) {}
                ),
                "one parameter",
            ),
            (
                quote!(
                    async fn main<T>(cx: T) {}
                ),
                "remove its generics",
            ),
            (
                quote!(
                    async fn main(self) {}
                ),
                "instead of `self`",
            ),
            (
                quote!(
                    async unsafe fn main(cx: Context) {}
                ),
                "plain `async fn`",
            ),
        ] {
            let error = expand_main(quote!(), item.clone()).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
            assert!(text(main(quote!(), item)).contains("fn main () {"));
        }
        let error = expand_main(
            quote!(threads = 2),
            quote!(
                async fn main(cx: Context) {}
            ),
        )
        .unwrap_err()
        .to_string();
        assert!(error.contains("unknown key `threads`: the keys are `crate`"), "{error}");
    }

    #[test]
    fn a_test_keeps_its_attributes() {
        let text = text(test(
            quote!(),
            quote!(
                #[should_panic]
                #[ignore = "slow"]
                async fn fails(cx: Context) {}
            ),
        ));
        assert!(
            text.contains("test] # [should_panic] # [ignore = \"slow\"] fn fails () {"),
            "{text}"
        );
        assert!(
            text.contains(
                "run_test (:: core :: module_path ! () , :: core :: stringify ! (fails) , fails)"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_test_may_do_without_a_context() {
        let text = text(test(
            quote!(),
            quote!(
                async fn adds() {}
            ),
        ));
        assert!(text.contains("| _ | adds ()"), "{text}");
    }

    #[test]
    fn a_test_is_refused_with_the_reason() {
        for (item, reason) in [
            (
                quote!(
                    fn adds() {}
                ),
                "write `async fn`",
            ),
            (
                quote!(
                    async fn adds(cx: Context, other: Context) {}
                ),
                "its context or nothing",
            ),
            (
                quote!(
                    #[test]
                    async fn adds(cx: Context) {}
                ),
                "remove `#[test]`",
            ),
        ] {
            let error = expand_test(quote!(), item).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
