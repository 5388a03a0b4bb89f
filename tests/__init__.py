"""Makes `tests` this folder, whatever package of that name a dependency installs."""
