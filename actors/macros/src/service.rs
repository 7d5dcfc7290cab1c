//! `#[actogen::service]`: methods of a service that other contexts can call.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::{
    Expr, ExprPath, FnArg, Ident, ImplItem, ImplItemFn, ItemImpl, Pat, Receiver, ReceiverKind, Type,
};

use crate::{
    attributes::{self, Facade},
    function::{argument_types, last_name, refuse_signature, returned},
    name::Name,
    tag,
};

const KEYS: &[&str] = &["name", "version", "start", Facade::KEY];
const METHOD_KEYS: &[&str] = &["policy", "serialized", "deduplicated"];
const POLICIES: &[(&str, &str)] = &[
    ("anyone", "Anyone"),
    ("parent_authority", "ParentAuthority"),
    ("immediate_child", "ImmediateChild"),
    ("only_self", "OnlySelf"),
];

/// What the attribute says, each key once at most.
#[derive(Default)]
struct Keys {
    facade: Facade,
    name: Option<Name>,
    version: Option<u32>,
    start: Option<Expr>,
}

impl Keys {
    fn read(tokens: TokenStream) -> syn::Result<Self> {
        let mut keys = Keys::default();
        let parser = syn::meta::parser(|meta| match attributes::key(&meta).as_str() {
            "name" => attributes::once(&mut keys.name, &meta, meta.value()?.parse()?),
            "version" => {
                let version: syn::LitInt = meta.value()?.parse()?;
                attributes::once(&mut keys.version, &meta, attributes::version(&version)?)
            }
            "start" => attributes::once(&mut keys.start, &meta, meta.value()?.parse()?),
            Facade::KEY => keys.facade.read(&meta),
            _ => Err(attributes::unknown(&meta, KEYS)),
        });
        syn::parse::Parser::parse2(parser, tokens)?;
        Ok(keys)
    }
}

/// What `#[method(...)]` says.
struct Method {
    function: ImplItemFn,
    policy: Expr,
    mode: &'static str,
}

impl Method {
    /// Takes the attribute off a function, if it has one.
    fn take(function: &mut ImplItemFn) -> syn::Result<Option<Self>> {
        let is_method = |attribute: &syn::Attribute| attribute.path().is_ident("method");
        let Some(place) = function.attrs.iter().position(is_method) else { return Ok(None) };
        let attribute = function.attrs.remove(place);
        let (mut policy, mut serialized, mut deduplicated) = (None, None, None);
        if !matches!(attribute.meta, syn::Meta::Path(_)) {
            attribute.parse_nested_meta(|meta| match attributes::key(&meta).as_str() {
                "policy" => attributes::once(&mut policy, &meta, meta.value()?.parse()?),
                "serialized" => attributes::once(&mut serialized, &meta, ()),
                "deduplicated" => attributes::once(&mut deduplicated, &meta, ()),
                _ => Err(attributes::unknown(&meta, METHOD_KEYS)),
            })?;
        }
        let Some(policy) = policy else {
            return Err(syn::Error::new_spanned(
                &attribute,
                "who may call this? say so: `#[method(policy = parent_authority)]`, or `anyone`, `immediate_child`, \
                 `only_self`, or a function of yours that gives an `actogen::Policy`",
            ));
        };
        let mode = match (serialized, deduplicated) {
            (None, None) => "Concurrent",
            (Some(()), None) => "Serialized",
            (None, Some(())) => "Deduplicated",
            (Some(()), Some(())) => {
                return Err(syn::Error::new_spanned(
                    &attribute,
                    "calls are `serialized` or `deduplicated`, not both: remove one",
                ));
            }
        };
        Ok(Some(Self { function: function.clone(), policy, mode }))
    }
}

pub(crate) fn service(arguments: TokenStream, item: TokenStream) -> TokenStream {
    match expand(arguments, item.clone()) {
        Ok(tokens) => tokens,
        Err(error) => {
            let error = error.to_compile_error();
            let item = without_methods(item);
            quote!(#item #error)
        }
    }
}

/// The block as it would be without this macro, so that its other users are no errors of their own.
fn without_methods(item: TokenStream) -> TokenStream {
    match syn::parse2::<ItemImpl>(item.clone()) {
        Ok(mut block) => {
            for item in &mut block.items {
                if let ImplItem::Fn(function) = item {
                    function.attrs.retain(|attribute| !attribute.path().is_ident("method"));
                }
            }
            block.into_token_stream()
        }
        Err(_) => item,
    }
}

fn expand(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let Keys { facade, name, version, start } = Keys::read(arguments)?;
    let mut block: ItemImpl = syn::parse2(item)?;
    let (of, ident) = service_type(&block)?;
    let name = match name {
        Some(name) => name,
        None => Name::of(&ident)?,
    };
    let version = version.unwrap_or(1);
    let mut methods = Vec::new();
    for item in &mut block.items {
        if let ImplItem::Fn(function) = item {
            methods.extend(Method::take(function)?);
        }
    }
    if methods.is_empty() {
        return Err(syn::Error::new_spanned(
            &block.self_ty,
            "nothing here can be called: mark methods with `#[method(policy = ...)]`",
        ));
    }
    let start = match &start {
        Some(start) => policy(&facade, start),
        None => quote!(#facade::Policy::ParentAuthority),
    };
    let calls = format_ident!("{ident}Calls");
    let mut callers = TokenStream::new();
    let mut items = TokenStream::new();
    for method in &methods {
        let Expanded { caller, item } =
            expand_method(&facade, &of, &ident, &name.value(), version, method)?;
        callers.extend(caller);
        items.extend(item);
    }
    let doc = format!("[`{ident}`] as others call it: see [`Offered`]({}::Offered).", doc(&facade));
    Ok(quote! {
        #block

        #[doc = #doc]
        #[allow(unreachable_pub, reason = "as reachable as its service is")]
        #[derive(Clone, Debug)]
        pub struct #calls(#facade::ServiceIn);

        #[allow(unreachable_pub, private_interfaces, reason = "as reachable as its service is")]
        impl #calls {
            #callers
        }

        const _: () = {
            #[automatically_derived]
            impl #facade::Offered for #of {
                const NAME: &'static str = #name;
                type Calls = #calls;

                fn calls(service: #facade::ServiceIn) -> Self::Calls {
                    #calls(service)
                }
            }

            #facade::__private::inventory::submit! {
                #facade::__private::RegisteredService::new::<#of>(|| #start)
            }
        };

        #items
    })
}

fn doc(facade: &Facade) -> String {
    facade.to_token_stream().to_string().replace(' ', "")
}

/// What becomes of one method: how it is called, and how it is run.
struct Expanded {
    caller: TokenStream,
    item: TokenStream,
}

fn expand_method(
    facade: &Facade,
    of: &Type,
    service: &Ident,
    service_name: &str,
    version: u32,
    method: &Method,
) -> syn::Result<Expanded> {
    let signature = &method.function.sig;
    refuse_signature(signature, false)?;
    let receives_itself = matches!(
        signature.inputs.first(),
        Some(FnArg::Receiver(Receiver { kind: ReceiverKind::Reference(_, _, None), .. }))
    );
    if !receives_itself {
        return Err(syn::Error::new_spanned(
            signature,
            "a method takes `&self`: calls may run beside each other, so keep what changes in a `Cell` or `RefCell`",
        ));
    }
    let mut free = signature.clone();
    free.inputs = signature.inputs.iter().skip(1).cloned().collect();
    let mut types = argument_types(&free)?;
    let mut names = argument_names(&free.inputs);
    let mut given = Vec::new();
    while let Some(part) = types.first().and_then(given_by_the_call) {
        given.push(part);
        types.remove(0);
        names.remove(0);
    }
    let ident = &signature.ident;
    let marker = format_ident!("__{service}_{ident}");
    let name = format!("{service_name}.{ident}");
    let tag = tag::of(&name, version);
    let (arguments, pattern, packed) = match (&types[..], &names[..]) {
        ([], _) => (quote!(()), quote!(()), quote!(())),
        ([one], [name]) => (one.to_token_stream(), quote!(#name), quote!(#name)),
        _ => (quote!((#(#types,)*)), quote!((#(#names,)*)), quote!((#(#names,)*))),
    };
    let (output, outcome) = returned(facade, &signature.output);
    let call = quote!(#of::#ident(&__serving.service, #(#given,)* #(#names),*));
    let run = if signature.asyncness.is_some() {
        let outcome = outcome(quote!(#call.await));
        quote!(#facade::__private::Run::Later(::std::boxed::Box::pin(async move { #outcome })))
    } else {
        let outcome = outcome(call);
        quote!(#facade::__private::Run::Now(#outcome))
    };
    let policy = policy(facade, &method.policy);
    let mode = format_ident!("{}", method.mode);
    let docs = method.function.attrs.iter().filter(|attribute| attribute.path().is_ident("doc"));
    let shown = format!("Calls `{service}::{ident}` where the service lives.");
    let caller = quote! {
        #(#docs)*
        #[doc = ""]
        #[doc = #shown]
        pub fn #ident(&self, #(#names: #types),*) -> #facade::FunctionCall<#marker> {
            self.0.call::<#marker>(&#packed)
        }
    };
    let item = quote! {
        #[doc(hidden)]
        #[allow(non_camel_case_types, unreachable_pub, missing_docs, reason = "named by the macro alone")]
        #[derive(Debug)]
        pub enum #marker {}

        const _: () = {
            #[automatically_derived]
            #[allow(private_interfaces, reason = "as reachable as its service is")]
            #[diagnostic::do_not_recommend]
            impl #facade::__private::Callable for #marker {
                const NAME: &'static str = #name;
                const TAG: #facade::Tag = #facade::Tag::new(#tag);
                type Arguments = #arguments;
                type Output = #output;
            }

            #[automatically_derived]
            impl #facade::__private::Method<#of> for #marker {
                #[allow(unused_variables, clippy::unit_arg, clippy::let_unit_value, reason = "written for any method")]
                fn run(
                    __serving: #facade::__private::Serving<#of>,
                    #pattern: Self::Arguments,
                ) -> #facade::__private::Run<Self::Output> {
                    #run
                }
            }

            #facade::__private::inventory::submit! {
                #facade::__private::RegisteredMethod::new::<#of, #marker>(
                    || #policy,
                    #facade::__private::Mode::#mode,
                )
            }
        };
    };
    Ok(Expanded { caller, item })
}

/// What a parameter of this type gets from the call itself; nothing for an argument.
fn given_by_the_call(parameter: &Type) -> Option<TokenStream> {
    match last_name(parameter).as_str() {
        "Context" => Some(quote!(__serving.context.clone())),
        "Origin" => Some(quote!(__serving.origin)),
        _ => None,
    }
}

/// The parameters' own names, where they have any.
fn argument_names<'a>(inputs: impl IntoIterator<Item = &'a FnArg>) -> Vec<Ident> {
    let name = |(place, argument): (usize, &FnArg)| match argument {
        FnArg::Typed(typed) => match &*typed.pat {
            Pat::Ident(named) => named.ident.clone(),
            _ => format_ident!("argument_{place}"),
        },
        FnArg::Receiver(_) => format_ident!("argument_{place}"),
    };
    inputs.into_iter().enumerate().map(name).collect()
}

/// The type that the block is of, and its name.
fn service_type(block: &ItemImpl) -> syn::Result<(Type, Ident)> {
    if let Some((path, _)) = &block.trait_ {
        return Err(syn::Error::new_spanned(
            path,
            "a service's methods are its own: put the attribute on an `impl` block without a trait",
        ));
    }
    if !block.generics.params.is_empty() {
        return Err(syn::Error::new_spanned(
            &block.generics,
            "a service is asked for by its one name, so it has no parameters to choose: remove its generics",
        ));
    }
    let ident = match &*block.self_ty {
        Type::Path(path) => path.path.segments.last().map(|last| last.ident.clone()),
        _ => None,
    };
    let ident = ident.ok_or_else(|| {
        syn::Error::new_spanned(&block.self_ty, "a service is a type of your own with a name")
    })?;
    Ok(((*block.self_ty).clone(), ident))
}

/// A policy by its name, or what a function of the author's gives.
fn policy(facade: &Facade, written: &Expr) -> TokenStream {
    if let Expr::Path(ExprPath { path, .. }) = written {
        let known =
            path.get_ident().and_then(|ident| POLICIES.iter().find(|(name, _)| ident == name));
        return match known {
            Some((_, variant)) => {
                let variant = format_ident!("{variant}");
                quote!(#facade::Policy::#variant)
            }
            None => quote!(#path()),
        };
    }
    written.to_token_stream()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(method: TokenStream) -> syn::Result<String> {
        let item = quote!(impl Counter { #method });
        let tokens = expand(quote!(name = "demo.Counter"), item)?;
        syn::parse2::<syn::File>(tokens.clone()).unwrap();
        Ok(tokens.to_string())
    }

    #[test]
    fn m15_a_method_without_a_policy_is_refused() {
        for attribute in [quote!(#[method]), quote!(#[method(serialized)])] {
            let error = counter(quote!(#attribute fn get(&self) -> i64 { 0 })).unwrap_err();
            assert!(error.to_string().contains("who may call this?"), "{error}");
        }
    }

    #[test]
    fn a_method_becomes_a_call_with_its_own_names() {
        let text = counter(quote!(
            #[method(policy = anyone, serialized)]
            async fn add(&self, cx: Context, n: i64, by: Origin) -> i64 {
                n
            }
        ));
        // Only what stands before the arguments is given by the call.
        let text = text.unwrap();
        for part in [
            "pub fn add (& self , n : i64 , by : Origin)",
            "Policy :: Anyone",
            "Mode :: Serialized",
            "\"demo.Counter.add\"",
            "pub struct CounterCalls",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("# [method"), "{text}");
    }

    #[test]
    fn a_policy_may_be_the_authors() {
        let text = counter(quote!(
            #[method(policy = rules::on_mondays)]
            fn get(&self) {}
        ));
        assert!(text.unwrap().contains("rules :: on_mondays ()"));
    }

    #[test]
    fn what_could_not_be_called_is_refused_with_the_remedy() {
        for (method, text) in [
            (
                quote!(
                    #[method(policy = anyone)]
                    fn get() {}
                ),
                "takes `&self`",
            ),
            (
                quote!(
                    #[method(policy = anyone)]
                    fn set(&mut self) {}
                ),
                "takes `&self`",
            ),
            (
                quote!(
                    #[method(policy = anyone)]
                    fn put(&self, name: &str) {}
                ),
                "`String` instead of `&str`",
            ),
            (
                quote!(
                    #[method(policy = anyone, serialized, deduplicated)]
                    fn get(&self) {}
                ),
                "not both",
            ),
            (
                quote!(
                    #[method(polcy = anyone)]
                    fn get(&self) {}
                ),
                "unknown key `polcy`",
            ),
            (
                quote!(
                    fn get(&self) {}
                ),
                "nothing here can be called",
            ),
        ] {
            let error = counter(method).unwrap_err().to_string();
            assert!(error.contains(text), "{text} in {error}");
        }
        let error = expand(quote!(), quote!(impl Clone for Counter {})).unwrap_err().to_string();
        assert!(error.contains("without a trait"), "{error}");
    }
}
