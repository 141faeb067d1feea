"""The network weights that come with unireg: installed as the package ``unireg_weights``, which holds files only."""
