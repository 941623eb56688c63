/* What RabbitMQ can do at most with the messages that orders cause: one process publishes, another one consumes.

   amqp_limit ORDERS EVENTS TRANSIENT BODY_BYTES WINDOW [QUEUES]
     EVENTS      persistent messages an order, each to QUEUES quorum queues: two, or one
     TRANSIENT   messages an order that need not survive (RPC and hints), to one classic queue
     WINDOW      messages that may be unconfirmed, and deliveries that one acknowledgement takes together
   AMQP_HOST, AMQP_PORT, AMQP_USER, AMQP_PASSWORD, AMQP_VHOST say where. Prints {"seconds": ...} and ends with 0. */

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EXCHANGE "bench.limit"
#define TRANSIENT_QUEUE "bench.limit.transient"

static const char *const quorum_queues[] = {"bench.limit.1", "bench.limit.2"};
static int queues = 2;

static void stop(const char *what) {
  fprintf(stderr, "amqp_limit: %s\n", what);
  exit(1);
}

static void check(amqp_connection_state_t connection, const char *what) {
  if (amqp_get_rpc_reply(connection).reply_type != AMQP_RESPONSE_NORMAL) stop(what);
}

static const char *needed(const char *name) {
  const char *value = getenv(name);
  if (value == NULL) stop(name);
  return value;
}

static amqp_connection_state_t connected(void) {
  amqp_connection_state_t connection = amqp_new_connection();
  amqp_socket_t *socket = amqp_tcp_socket_new(connection);
  if (socket == NULL || amqp_socket_open(socket, needed("AMQP_HOST"), atoi(needed("AMQP_PORT"))) != AMQP_STATUS_OK)
    stop("no connection");
  amqp_rpc_reply_t reply = amqp_login(connection, needed("AMQP_VHOST"), 0, 131072, 0, AMQP_SASL_METHOD_PLAIN,
                                      needed("AMQP_USER"), needed("AMQP_PASSWORD"));
  if (reply.reply_type != AMQP_RESPONSE_NORMAL) stop("login refused");
  amqp_channel_open(connection, 1);
  check(connection, "no channel");
  return connection;
}

static void declare(amqp_connection_state_t connection) {
  amqp_exchange_declare(connection, 1, amqp_cstring_bytes(EXCHANGE), amqp_cstring_bytes("fanout"), 0, 1, 0, 0,
                        amqp_empty_table);
  check(connection, "exchange refused");
  amqp_table_entry_t kind = {.key = amqp_cstring_bytes("x-queue-type"),
                             .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes("quorum")}};
  amqp_table_t arguments = {.num_entries = 1, .entries = &kind};
  for (int at = 0; at < queues; at++) {
    amqp_bytes_t queue = amqp_cstring_bytes(quorum_queues[at]);
    amqp_queue_declare(connection, 1, queue, 0, 1, 0, 0, arguments);
    check(connection, "quorum queue refused");
    amqp_queue_bind(connection, 1, queue, amqp_cstring_bytes(EXCHANGE), amqp_empty_bytes, amqp_empty_table);
    check(connection, "binding refused");
  }
  amqp_queue_declare(connection, 1, amqp_cstring_bytes(TRANSIENT_QUEUE), 0, 0, 0, 0, amqp_empty_table);
  check(connection, "transient queue refused");
}

static void drop(amqp_connection_state_t connection) {
  for (int at = 0; at < queues; at++) amqp_queue_delete(connection, 1, amqp_cstring_bytes(quorum_queues[at]), 0, 0);
  amqp_queue_delete(connection, 1, amqp_cstring_bytes(TRANSIENT_QUEUE), 0, 0);
  amqp_exchange_delete(connection, 1, amqp_cstring_bytes(EXCHANGE), 0);
}

/* Take `durable` deliveries with acknowledgements, one for `window` of them, and `transient` without. */
static void consume(long durable, long transient, long window) {
  amqp_connection_state_t connection = connected();
  amqp_channel_open(connection, 2);
  check(connection, "no second channel");
  amqp_basic_qos(connection, 1, 0, (uint16_t)(2 * window), 0);
  for (int at = 0; at < queues; at++)
    amqp_basic_consume(connection, 1, amqp_cstring_bytes(quorum_queues[at]), amqp_empty_bytes, 0, 0, 0,
                       amqp_empty_table);
  amqp_basic_consume(connection, 2, amqp_cstring_bytes(TRANSIENT_QUEUE), amqp_empty_bytes, 0, 1, 0, amqp_empty_table);
  check(connection, "consuming refused");
  for (long got = 0, taken = 0; got < durable + transient; got++) {
    amqp_envelope_t envelope;
    amqp_maybe_release_buffers(connection);
    if (amqp_consume_message(connection, &envelope, NULL, 0).reply_type != AMQP_RESPONSE_NORMAL) stop("delivery lost");
    if (envelope.channel == 1 && (++taken % window == 0 || taken == durable))
      amqp_basic_ack(connection, 1, envelope.delivery_tag, 1);
    amqp_destroy_envelope(&envelope);
  }
  /* An answer to this shows that the broker has read the last acknowledgement. */
  amqp_basic_qos(connection, 1, 0, 1, 0);
  amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
}

/* Wait for confirms until no more than `most` of the messages up to `sent` are open; `low`: the first open one. */
static void settle(amqp_connection_state_t connection, char *confirmed, long sent, long most, long *open, long *low) {
  while (*open > most) {
    amqp_frame_t frame;
    amqp_maybe_release_buffers(connection);
    if (amqp_simple_wait_frame(connection, &frame) != AMQP_STATUS_OK) stop("confirm lost");
    if (frame.frame_type != AMQP_FRAME_METHOD || frame.payload.method.id != AMQP_BASIC_ACK_METHOD)
      stop("a message was not confirmed");
    const amqp_basic_ack_t *ack = frame.payload.method.decoded;
    long tag = (long)ack->delivery_tag;
    for (long at = ack->multiple ? *low : tag; at <= tag; at++)
      if (!confirmed[at]) confirmed[at] = 1, (*open)--;
    while (*low <= sent && confirmed[*low]) (*low)++;
  }
}

static void publish(amqp_connection_state_t connection, long orders, int events, int transients, int bytes,
                    long window) {
  long sent = 0, open = 0, low = 1;
  char *confirmed = calloc((size_t)(orders * (events + transients) + 1), 1);
  char *text = malloc((size_t)bytes);
  if (confirmed == NULL || text == NULL) stop("no memory");
  memset(text, 'x', (size_t)bytes);
  amqp_bytes_t body = {.len = (size_t)bytes, .bytes = text};
  amqp_basic_properties_t properties = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_CONTENT_TYPE_FLAG,
                                        .content_type = amqp_cstring_bytes("application/json")};
  amqp_confirm_select(connection, 1);
  check(connection, "confirms refused");
  for (long order = 0; order < orders; order++)
    for (int at = 0; at < events + transients; at++) {
      int durable = at < events;
      properties.delivery_mode = durable ? 2 : 1;
      if (amqp_basic_publish(connection, 1, amqp_cstring_bytes(durable ? EXCHANGE : ""),
                             amqp_cstring_bytes(durable ? "" : TRANSIENT_QUEUE), 1, 0, &properties, body) != 0)
        stop("publishing failed");
      sent++, open++;
      settle(connection, confirmed, sent, window - 1, &open, &low);
    }
  settle(connection, confirmed, sent, 0, &open, &low);
}

int main(int argc, char **argv) {
  if (argc == 7) queues = atoi(argv[6]);
  if ((argc != 6 && argc != 7) || queues < 1 || queues > 2) stop("ORDERS EVENTS TRANSIENT BODY_BYTES WINDOW [QUEUES]");
  long orders = atol(argv[1]), window = atol(argv[5]);
  int events = atoi(argv[2]), transients = atoi(argv[3]), bytes = atoi(argv[4]);
  amqp_connection_state_t connection = connected();
  declare(connection);
  pid_t consumer = fork();
  if (consumer == 0) {
    consume(orders * events * queues, orders * transients, window);
    _exit(0);
  }
  struct timespec began, ended;
  clock_gettime(CLOCK_MONOTONIC, &began);
  publish(connection, orders, events, transients, bytes, window);
  int status;
  if (consumer < 0 || waitpid(consumer, &status, 0) != consumer || status != 0) stop("the consumer failed");
  clock_gettime(CLOCK_MONOTONIC, &ended);
  drop(connection);
  amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
  printf("{\"seconds\": %.6f}\n", (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9);
  return 0;
}
