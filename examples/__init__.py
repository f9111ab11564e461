"""Applications that emit. They come with the package, because `auditpipe demo` runs one."""
