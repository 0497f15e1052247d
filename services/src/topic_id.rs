//! The id that a broker gave a topic when it was created: a recreated topic is another log under the same name.
#![expect(unsafe_code, reason = "librdkafka's DescribeTopics has no safe wrapper in rdkafka 0.39")]

use std::ffi::{CStr, CString};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};

/// Asks the cluster for the topic's id, in base64; `None` where there is no such topic.
pub fn topic_id<C: ClientContext>(client: &Client<C>, topic: &str, timeout: Duration) -> Result<Option<String>> {
    let name = CString::new(topic).context("the topic name holds a zero byte")?;
    let mut names = [name.as_ptr()];
    let wait_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: every handle is made, used and destroyed within this block; `names` and `name` outlive the call;
    // `client` keeps the native client alive; the id's text is copied before its event is destroyed.
    unsafe {
        let native = client.native_ptr();
        let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1);
        let options =
            sys::rd_kafka_AdminOptions_new(native, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        let queue = sys::rd_kafka_queue_new(native);
        sys::rd_kafka_DescribeTopics(native, topics, options, queue);
        let event = sys::rd_kafka_queue_poll(queue, wait_ms);
        let answer = read(event);
        if !event.is_null() {
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_queue_destroy(queue);
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_TopicCollection_destroy(topics);
        answer
    }
}

const NO_ERROR: sys::rd_kafka_resp_err_t = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;

/// # Safety
/// `event` is null or a live event of librdkafka.
unsafe fn read(event: *mut sys::rd_kafka_event_t) -> Result<Option<String>> {
    // SAFETY: as the function's own; what is read lives as long as the event.
    unsafe {
        if event.is_null() {
            bail!("the broker did not describe the topic in time");
        }
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            bail!("the broker did not describe the topic");
        }
        let mut count = 0;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if topics.is_null() || count != 1 {
            bail!("the broker did not describe the topic");
        }
        let error = sys::rd_kafka_TopicDescription_error(*topics);
        match if error.is_null() { NO_ERROR } else { sys::rd_kafka_error_code(error) } {
            NO_ERROR => {}
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART => return Ok(None),
            code => bail!("the broker did not describe the topic: {code:?}"),
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(*topics);
        if id.is_null() {
            bail!("the broker gave the topic no id");
        }
        Ok(Some(CStr::from_ptr(sys::rd_kafka_Uuid_base64str(id)).to_string_lossy().into_owned()))
    }
}
