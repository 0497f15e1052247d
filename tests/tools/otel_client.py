"""A real OpenTelemetry client: sends spans and log records of model calls. Args: ENDPOINT COUNT COMPRESSION.
Prints one line when everything was exported."""
import logging
import sys
import time

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

endpoint, count, compression = sys.argv[1], int(sys.argv[2]), Compression(sys.argv[3])
logging.basicConfig(stream=sys.stderr)
resource = Resource.create({"service.name": "otel-app", "leeway.tenant": "acme", "service.version": "7"})
tracers = TracerProvider(resource=resource)
tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint + "/v1/traces", compression=compression)))
loggers = LoggerProvider(resource=resource)
loggers.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(endpoint + "/v1/logs", compression=compression)))
tracer, logger = tracers.get_tracer("test"), loggers.get_logger("test")
for i in range(count):
    attributes = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.id": f"otel-{endpoint}-{i}", "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 3,
    }
    # An agent around it, which is no model call.
    with tracer.start_as_current_span("invoke_agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
        with tracer.start_as_current_span("chat gpt-4o", attributes=attributes) as span:
            context = trace.set_span_in_context(span)
            logger.emit(LogRecord(
                timestamp=time.time_ns(), context=context, severity_number=SeverityNumber.INFO,
                event_name="gen_ai.client.inference.operation.details", attributes=attributes))
flushed = tracers.force_flush() and loggers.force_flush()
tracers.shutdown()
loggers.shutdown()
print("exported" if flushed else "failed", flush=True)
