"""What other contexts may use of tenancy. The principal itself is `cognitionos.kernel.principal`."""

from cognitionos.tenancy.application.api_keys import ApiKeys, Issued
from cognitionos.tenancy.application.authentication import Authentication
from cognitionos.tenancy.application.tenants import Tenants

__all__ = ["ApiKeys", "Authentication", "Issued", "Tenants"]
