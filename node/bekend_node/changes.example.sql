-- In the source system (PostgreSQL 15 or later), by its administrator: what a bekend node may read, and what changed.
-- The table `clienten`, with its key `id`, stands for yours: whatever is read about a person comes out of the first view.
-- Differences are kept here, where the persons are known, and nowhere else: the node has no numbers to compare with.

CREATE ROLE bekend_lezer LOGIN;
CREATE SCHEMA bekend;

-- Who is in the register today.
CREATE VIEW bekend.nazorg AS
  SELECT id, bsn, skn, geslachtsnaam, voorvoegsel, voornamen, geboortedatum,
         einddatum, laatste_contact, geheim, grond
  FROM clienten
  WHERE einddatum IS NULL OR einddatum >= current_date;

-- Whose registration was touched, and under what they were enrolled until then.
CREATE TABLE bekend.geraakt (
  op date NOT NULL DEFAULT current_date, id bigint NOT NULL,
  bsn text, skn text, geslachtsnaam text, voorvoegsel text, voornamen text, geboortedatum text
);

CREATE FUNCTION bekend.raak() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO bekend.geraakt (id) VALUES (NEW.id);
  ELSE
    INSERT INTO bekend.geraakt (id, bsn, skn, geslachtsnaam, voorvoegsel, voornamen, geboortedatum)
    VALUES (OLD.id, OLD.bsn, OLD.skn, OLD.geslachtsnaam, OLD.voorvoegsel, OLD.voornamen, OLD.geboortedatum);
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER bekend_raak AFTER INSERT OR UPDATE OR DELETE ON clienten
  FOR EACH ROW EXECUTE FUNCTION bekend.raak();

-- An addition for everybody who was touched and is there; a removal for each number, and each name, that nobody has now.
CREATE VIEW bekend.nazorg_wijzigingen AS
  SELECT g.op, n.bsn, n.skn, n.geslachtsnaam, n.voorvoegsel, n.voornamen, n.geboortedatum,
         n.einddatum, n.laatste_contact, n.geheim, n.grond, '+' AS mutatie
  FROM bekend.nazorg n JOIN (SELECT id, max(op) AS op FROM bekend.geraakt GROUP BY id) g USING (id)
UNION ALL
  SELECT g.op, g.bsn, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '-'
  FROM bekend.geraakt g
  WHERE g.bsn IS NOT NULL AND NOT EXISTS (SELECT FROM bekend.nazorg n WHERE n.bsn = g.bsn)
UNION ALL
  SELECT g.op, NULL, g.skn, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '-'
  FROM bekend.geraakt g
  WHERE g.skn IS NOT NULL AND NOT EXISTS (SELECT FROM bekend.nazorg n WHERE n.skn = g.skn)
UNION ALL
  SELECT g.op, NULL, NULL, g.geslachtsnaam, g.voorvoegsel, g.voornamen, g.geboortedatum, NULL, NULL, NULL, NULL, '-'
  FROM bekend.geraakt g
  WHERE g.geslachtsnaam IS NOT NULL AND NOT EXISTS (
    SELECT FROM bekend.nazorg n
    WHERE n.geslachtsnaam = g.geslachtsnaam AND n.voorvoegsel IS NOT DISTINCT FROM g.voorvoegsel
      AND n.voornamen IS NOT DISTINCT FROM g.voornamen AND n.geboortedatum IS NOT DISTINCT FROM g.geboortedatum);

GRANT USAGE ON SCHEMA bekend TO bekend_lezer;
GRANT SELECT ON bekend.nazorg, bekend.nazorg_wijzigingen TO bekend_lezer;

-- No statement touches a registration that ends by its date: the node leaves it out by the end that it was given.
-- Weekly: DELETE FROM bekend.geraakt WHERE op < current_date - 60;
