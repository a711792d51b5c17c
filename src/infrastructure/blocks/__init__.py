"""The per-route blocks of `template.yaml`, which cog writes in place.

Pure builders: a route table in, parts of a template out, as the values that `cfn_yaml` writes. What is the
same for any table is written by hand in the template itself.
"""
