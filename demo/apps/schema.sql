CREATE ROLE shop LOGIN PASSWORD :'password';
CREATE ROLE office LOGIN PASSWORD :'office' IN ROLE pg_read_all_data;
CREATE DATABASE shop OWNER shop;
\connect shop
SET ROLE shop;

CREATE TABLE products (id serial PRIMARY KEY, name text NOT NULL, price numeric(10,2) NOT NULL, stock int NOT NULL);
INSERT INTO products (name, price, stock)
  SELECT m || ' ' || t, round((5 + (7919 * row_number() OVER () % 9500) / 100.0)::numeric, 2), 100
  FROM unnest(ARRAY['Brass', 'Oak', 'Iron', 'Canvas', 'Hemp']) m
  CROSS JOIN unnest(ARRAY['lamp', 'rope', 'anchor', 'compass', 'bell', 'bucket', 'cleat', 'pulley']) t;

CREATE TABLE orders (id serial PRIMARY KEY, email text NOT NULL, total numeric(10,2) NOT NULL, payment text NOT NULL, status text NOT NULL,
                     made timestamptz NOT NULL DEFAULT now());
CREATE TABLE order_items (order_id int NOT NULL REFERENCES orders, product_id int NOT NULL REFERENCES products, n int NOT NULL);
CREATE TABLE shipments (order_id int NOT NULL REFERENCES orders, worker text NOT NULL, invoice_bytes int NOT NULL,
                        made timestamptz NOT NULL DEFAULT now());

-- What an attacker is after. Test numbers, of nobody.
CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL, email text NOT NULL, card text NOT NULL);
INSERT INTO customers (name, email, card)
  SELECT 'Customer ' || i, 'customer' || i || '@example.com', '4111-1111-1111-' || to_char(i, 'FM0000') FROM generate_series(1, 50) i;

CREATE TABLE users (name text PRIMARY KEY, password text NOT NULL);
INSERT INTO users VALUES ('harbourmaster', md5('fair-winds'));
