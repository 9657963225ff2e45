"""Transports carry ProcessingRequests in and ProcessingResponses out. Nothing above them knows which one runs."""
