# frozen_string_literal: true

# Ruby's readers. What they are asked, and how they answer: frameworks.py.
require 'cgi'
require 'json'
require 'rack'
require 'stringio'

COOKIES = {
  'Rack' => ->(header) { Rack::Request.new('HTTP_COOKIE' => header).cookies },
  'CGI::Cookie' => ->(header) { CGI::Cookie.parse(header).transform_values(&:to_a) }
}.freeze

QUERIES = {
  'Rack' => ->(query) { Rack::Request.new('QUERY_STRING' => query, 'rack.input' => StringIO.new).GET },
  'Rack, flat' => ->(query) { Rack::Utils.parse_query(query) },
  'Rack, separator ;' => ->(query) { Rack::Utils.parse_nested_query(query, ';') },
  'CGI' => ->(query) { CGI.parse(query) }
}.freeze

def octets(text) = text.encode('ISO-8859-1').force_encoding('UTF-8')

def clean(text) = text.dup.force_encoding('UTF-8').scrub

def pairs(found)
  found.flat_map do |name, value|
    values = value.is_a?(Array) ? value : [value]
    values.map { |one| [clean(name.to_s), one.is_a?(String) ? clean(one) : one.inspect] }
  end
end

# What each of them finds, those together that find the same. One that gives up finds nothing.
def read(readers, inputs)
  found = Hash.new { |all, pairs| all[pairs] = [] }
  readers.each do |name, reader|
    all = inputs.flat_map do |input|
      pairs(reader.call(octets(input)))
    rescue StandardError
      []
    end
    found[all] << name
  end
  found.map { |pairs, names| [names, pairs] }
end

$stdout.sync = true
$stdin.each_line do |line|
  puts JSON.generate(JSON.parse(line).map { |request|
    { cookie: read(COOKIES, request['cookies']), query: read(QUERIES, [request['path'].split('?', 2)[1].to_s]) }
  })
end
