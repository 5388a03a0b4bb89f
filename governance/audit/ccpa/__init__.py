"""The register of consumers' requests and opt-outs under the CCPA."""
