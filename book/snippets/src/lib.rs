//! The code that Actogen's book shows. Programs are in `src/bin`, everything else in `tests`, where it runs.
