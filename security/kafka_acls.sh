#!/bin/sh
# Gives the users of sensor-ledger the rights that they need on the brokers, and no more:
#
#   the producer may write to the topic
#   the consumer may read the topic and its settings (retain needs its retention time), and be a
#   member of its group
#
# Neither may create or change a topic: an administrator creates it. The brokers need an authorizer
# and allow.everyone.if.no.acl.found=false, or everybody may do everything.
#
#   security/kafka_acls.sh BROKER TOPIC GROUP PRODUCER_USER CONSUMER_USER [ADMIN_CONFIG_FILE]
#
# KAFKA_ACLS names the tool if kafka-acls.sh is not on the path. Repeating it changes nothing.
set -eu

if [ $# -lt 5 ]; then
  echo "usage: $0 BROKER TOPIC GROUP PRODUCER_USER CONSUMER_USER [ADMIN_CONFIG_FILE]" >&2
  exit 2
fi
broker=$1 topic=$2 group=$3 producer=$4 consumer=$5 config=${6:-}

allow() {
  # The tool's name can hold arguments of its own.
  # shellcheck disable=SC2086
  ${KAFKA_ACLS:-kafka-acls.sh} --bootstrap-server "$broker" ${config:+--command-config "$config"} \
    --add --allow-principal "$@"
}

allow "User:$producer" --operation Write --operation Describe --topic "$topic"
allow "User:$consumer" --operation Read --operation Describe --operation DescribeConfigs \
  --topic "$topic"
allow "User:$consumer" --operation Read --group "$group"
