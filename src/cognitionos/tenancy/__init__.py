"""Who may do what: tenants, their projects and API keys. The credential alone says who the tenant is."""
